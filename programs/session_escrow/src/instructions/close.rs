//! Open or Closing -> gone: settles and refunds in one instruction, closes the escrow and returns all lamports. A
//! session whose vouchers could be used again at the same address stays as Closed instead, until `withdraw` returns its
//! rent.

use super::batch_flag;
use crate::{
    constants::*,
    error::EscrowError,
    events::SessionClosed,
    state::{Claim, Session},
    token::{self, Drain, Holder, Split},
    voucher,
};
use anchor_lang::prelude::*;
use pinocchio::{cpi::Signer as PdaSigner, sysvars::instructions::INSTRUCTIONS_ID};

/// `amount u64 | charged_units u64 | opened_at i64 | usage_root [32] | flags u8`.
const ARGS_LEN: usize = 57;

/// Accounts of `close`.
#[derive(Accounts)]
pub struct Close {
    /// The operator or the payee.
    #[account(
        constraint = __ix_data.len() == ARGS_LEN @ ProgramError::InvalidInstructionData,
        constraint = session.version == SESSION_VERSION @ EscrowError::UnsupportedVersion,
    )]
    pub submitter: Signer,
    /// CHECK: the one who paid; gets all lamports.
    #[account(mut, address = session.rent_payer @ EscrowError::WrongRentPayer)]
    pub rent_payer: UncheckedAccount,
    /// The session.
    #[account(mut)]
    pub session: Account<Session>,
    /// CHECK: the session's own.
    #[account(mut, address = session.escrow @ EscrowError::WrongEscrow)]
    pub escrow: UncheckedAccount,
    /// CHECK: read by `token::check_account`.
    #[account(mut)]
    pub payee_token: UncheckedAccount,
    /// CHECK: read by `token::check_account`.
    #[account(mut)]
    pub payer_token: UncheckedAccount,
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

impl Close {
    /// Pays `claim.amount` less what was settled before, and everything else in the escrow to the payer.
    pub fn execute(&mut self, claim: &Claim, usage_root: [u8; 32], flags: u8) -> Result<()> {
        let clock = Clock::get()?;
        let split = self.validate(claim, clock.unix_timestamp, flags)?;

        self.session.record_close()?;
        let refunded = split.refund;
        let seeds = self.session.signer_seeds();
        Drain {
            program: self.token_program.address(),
            escrow: self.escrow.account(),
            mint: self.mint.as_ref().map(|mint| mint.account()),
            session: self.session.account(),
            payer_token: self.payer_token.account(),
            rent_payer: self.rent_payer.account(),
            decimals: self.session.decimals,
        }
        .invoke_with_payment(self.payee_token.account(), split, &[PdaSigner::from(&seeds)]);
        let s = &self.session;
        emit!(SessionClosed {
            session: *s.address(),
            payer: s.payer,
            payee: s.payee,
            mint: s.mint,
            deposit: s.deposit,
            settled: s.settled,
            refunded: refunded.into(),
            charged_units: s.charged_units,
            opened_at: s.opened_at,
            usage_root,
        });
        s.invariant()?;
        if !s.must_keep_address(clock.slot) {
            AccountClose::close(&mut self.session, *self.rent_payer.account())?;
        }
        Ok(())
    }

    /// Everything that must hold, in the order of the accounts; records the claim. Returns what is to be moved.
    fn validate(&mut self, claim: &Claim, now: i64, flags: u8) -> Result<Split> {
        let batch = batch_flag(flags)?;
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
        let payer = Holder { owner: &self.session.payer, otherwise: EscrowError::WrongPayerToken, ..payee };
        token::check_account(self.payer_token.account(), &payer)?;
        let own = Holder { owner: self.session.address(), otherwise: EscrowError::EscrowTampered, ..payee };
        let balance = token::check_account(self.escrow.account(), &own)?;
        let refund = balance.checked_sub(due).ok_or(EscrowError::EscrowShort)?;
        require!(refund >= self.session.owed()?, EscrowError::EscrowShort);
        Ok(Split { due, refund, batch })
    }
}
