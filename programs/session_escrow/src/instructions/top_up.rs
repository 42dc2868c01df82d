//! Open -> Open: adds to the deposit. Byte-compatible with stock clients; a closure that was requested is never undone
//! by it (C26).

use crate::{
    constants::*,
    error::EscrowError,
    events::SessionToppedUp,
    state::Session,
    token::{self, Holder, Transfer},
};
use anchor_lang::prelude::*;

/// `amount u64`.
const ARGS_LEN: usize = 8;

/// Accounts of `top_up`, in the order that stock clients use.
#[derive(Accounts)]
pub struct TopUp {
    /// Pays.
    #[account(
        mut,
        constraint = __ix_data.len() == ARGS_LEN @ ProgramError::InvalidInstructionData,
        constraint = session.version == SESSION_VERSION @ EscrowError::UnsupportedVersion,
        address = session.payer @ EscrowError::UnauthorizedPayer,
    )]
    pub payer: Signer,
    /// The session.
    #[account(mut)]
    pub session: Account<Session>,
    /// CHECK: read by `token::check_account`.
    #[account(mut)]
    pub payer_token: UncheckedAccount,
    /// CHECK: the session's own.
    #[account(mut, address = session.escrow @ EscrowError::WrongEscrow)]
    pub escrow: UncheckedAccount,
    /// CHECK: the session's own.
    #[account(address = session.mint @ EscrowError::WrongMint)]
    pub mint: UncheckedAccount,
    /// CHECK: SPL Token or Token-2022.
    #[account(constraint = token::is_token_program(token_program.address()) @ EscrowError::WrongTokenProgram)]
    pub token_program: UncheckedAccount,
}

impl TopUp {
    /// Moves `amount` base units into the escrow.
    pub fn execute(&mut self, amount: u64) -> Result<()> {
        let now = Clock::get()?.unix_timestamp;
        let token_program = self.token_program.address();
        self.session.record_top_up(amount, now)?;
        let decimals = token::check_payer_side(
            self.mint.account(),
            self.payer_token.account(),
            self.payer.address(),
            token_program,
        )?;
        let holder = Holder {
            program: token_program,
            mint: self.mint.address(),
            owner: self.session.address(),
            otherwise: EscrowError::EscrowTampered,
        };
        token::check_account(self.escrow.account(), &holder)?;

        Transfer {
            program: token_program,
            from: self.payer_token.account(),
            mint: Some(self.mint.account()),
            to: self.escrow.account(),
            authority: self.payer.account(),
            decimals,
        }
        .invoke(amount, &[]);
        emit!(SessionToppedUp {
            session: *self.session.address(),
            amount: amount.into(),
            deposit: self.session.deposit
        });
        self.session.invariant()
    }
}
