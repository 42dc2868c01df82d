//! Open or Closing -> gone, from the deadline on, by anyone: refunds the payer, with nothing needed of the payee.
//! Closed -> gone, once its address cannot be opened again: returns the rent.

use crate::{
    constants::*,
    error::EscrowError,
    events::{SessionReclaimed, SessionWithdrawn},
    state::Session,
    token::{self, Drain, Holder},
};
use anchor_lang::prelude::*;
use pinocchio::cpi::Signer as PdaSigner;

/// Accounts of `withdraw`. Nobody signs but the fee payer.
#[derive(Accounts)]
pub struct Withdraw {
    /// The session.
    #[account(
        mut,
        constraint = __ix_data.is_empty() @ ProgramError::InvalidInstructionData,
        constraint = session.version == SESSION_VERSION @ EscrowError::UnsupportedVersion,
    )]
    pub session: Account<Session>,
    /// CHECK: the one who paid; gets all lamports.
    #[account(mut, address = session.rent_payer @ EscrowError::WrongRentPayer)]
    pub rent_payer: UncheckedAccount,
    /// CHECK: the session's own.
    #[account(mut, address = session.escrow @ EscrowError::WrongEscrow)]
    pub escrow: UncheckedAccount,
    /// CHECK: read by `token::check_account`, unless the session is Closed.
    #[account(mut)]
    pub payer_token: UncheckedAccount,
    /// CHECK: the session's own; Token-2022 alone needs it.
    #[account(address = session.mint @ EscrowError::WrongMint)]
    pub mint: Option<UncheckedAccount>,
    /// CHECK: SPL Token or Token-2022.
    #[account(constraint = token::is_token_program(token_program.address()) @ EscrowError::WrongTokenProgram)]
    pub token_program: UncheckedAccount,
}

impl Withdraw {
    /// Refunds the payer, or returns the rent of a session that has nothing else left.
    pub fn execute(&mut self) -> Result<()> {
        let clock = Clock::get()?;
        if self.session.is_closed() {
            return self.reclaim(clock.slot);
        }
        let refund = self.validate(clock.unix_timestamp)?;

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
        .invoke(refund, &[PdaSigner::from(&seeds)]);
        emit!(SessionWithdrawn {
            session: *self.session.address(),
            settled: self.session.settled,
            refunded: refund.into(),
        });
        self.session.invariant()?;
        if !self.session.must_keep_address(clock.slot) {
            AccountClose::close(&mut self.session, *self.rent_payer.account())?;
        }
        Ok(())
    }

    /// The deadline is reached and the payer's account can take the refund; the session becomes Closed. Returns all
    /// that the escrow holds.
    fn validate(&mut self, now: i64) -> Result<u64> {
        self.session.record_withdrawal(now)?;
        let token_program = self.token_program.address();
        token::check_moving_mint(self.mint.as_ref(), token_program)?;
        let payer = Holder {
            program: token_program,
            mint: &self.session.mint,
            owner: &self.session.payer,
            otherwise: EscrowError::WrongPayerToken,
        };
        token::check_account(self.payer_token.account(), &payer)?;
        let own = Holder { owner: self.session.address(), otherwise: EscrowError::EscrowTampered, ..payer };
        token::check_account(self.escrow.account(), &own)
    }

    fn reclaim(&mut self, slot: u64) -> Result<()> {
        require!(self.session.window_is_over(slot), EscrowError::WindowNotOver);
        emit!(SessionReclaimed {
            session: *self.session.address(),
            rent_payer: self.session.rent_payer,
            lamports: self.session.account().lamports().into(),
        });
        AccountClose::close(&mut self.session, *self.rent_payer.account())
    }
}
