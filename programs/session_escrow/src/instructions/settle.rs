//! Open -> Open, Closing -> Closing: pays the payee what is due; the session stays. Touches nothing of the payer's, so
//! whatever the payer does to its own token account, the payee is paid.

use crate::{
    constants::*,
    error::EscrowError,
    events::SessionSettled,
    state::{Claim, Session},
    token::{self, Holder, Transfer},
    voucher,
};
use anchor_lang::prelude::*;
use pinocchio::{cpi::Signer as PdaSigner, sysvars::instructions::INSTRUCTIONS_ID};

/// `amount u64 | charged_units u64 | opened_at i64`.
const ARGS_LEN: usize = 24;

/// Accounts of `settle`.
#[derive(Accounts)]
pub struct Settle {
    /// The operator or the payee.
    #[account(
        constraint = __ix_data.len() == ARGS_LEN @ ProgramError::InvalidInstructionData,
        constraint = session.version == SESSION_VERSION @ EscrowError::UnsupportedVersion,
    )]
    pub submitter: Signer,
    /// The session.
    #[account(mut)]
    pub session: Account<Session>,
    /// CHECK: the session's own.
    #[account(mut, address = session.escrow @ EscrowError::WrongEscrow)]
    pub escrow: UncheckedAccount,
    /// CHECK: read by `token::check_account`.
    #[account(mut)]
    pub payee_token: UncheckedAccount,
    /// CHECK: the session's own; Token-2022 alone needs it.
    #[account(address = session.mint @ EscrowError::WrongMint)]
    pub mint: Option<UncheckedAccount>,
    /// CHECK: SPL Token or Token-2022.
    #[account(constraint = token::is_token_program(token_program.address()) @ EscrowError::WrongTokenProgram)]
    pub token_program: UncheckedAccount,
    /// CHECK: read by `voucher::authorize`, in voucher mode alone.
    #[account(address = INSTRUCTIONS_ID @ EscrowError::WrongInstructionsSysvar)]
    pub instructions: Option<UncheckedAccount>,
}

impl Settle {
    /// Pays `claim.amount` less what was settled before.
    pub fn execute(&mut self, claim: &Claim) -> Result<()> {
        let now = Clock::get()?.unix_timestamp;
        self.session.require_submitter(self.submitter.address())?;
        let due = self.session.record_settlement(claim, now)?;
        if due > 0 {
            let submitter = self.submitter.address();
            voucher::authorize(&self.session, claim, submitter, self.instructions.as_ref(), now)?;
        }
        let token_program = self.token_program.address();
        token::check_moving_mint(self.mint.as_ref(), token_program)?;
        let payee = Holder {
            program: token_program,
            mint: &self.session.mint,
            owner: &self.session.payee,
            otherwise: EscrowError::WrongPayeeToken,
        };
        token::check_account(self.payee_token.account(), &payee)?;
        let own = Holder { owner: self.session.address(), otherwise: EscrowError::EscrowTampered, ..payee };
        let balance = token::check_account(self.escrow.account(), &own)?;
        require!(due <= balance, EscrowError::EscrowShort);

        if due > 0 {
            let seeds = self.session.signer_seeds();
            Transfer {
                program: token_program,
                from: self.escrow.account(),
                mint: self.mint.as_ref().map(|mint| mint.account()),
                to: self.payee_token.account(),
                authority: self.session.account(),
                decimals: self.session.decimals,
            }
            .invoke(due, &[PdaSigner::from(&seeds)]);
        }
        emit!(SessionSettled {
            session: *self.session.address(),
            paid: due.into(),
            settled: self.session.settled,
            charged_units: self.session.charged_units,
        });
        self.session.invariant()
    }
}
