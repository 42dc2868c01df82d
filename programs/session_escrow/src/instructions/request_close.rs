//! Open -> Closing: the payer starts the grace period, within which the payee settles and after which anyone may
//! withdraw to the payer.

use crate::{constants::*, error::EscrowError, events::CloseRequested, state::Session};
use anchor_lang::prelude::*;

/// Accounts of `request_close`, in the order that stock clients use.
#[derive(Accounts)]
pub struct RequestClose {
    /// Asks.
    #[account(
        constraint = __ix_data.is_empty() @ ProgramError::InvalidInstructionData,
        constraint = session.version == SESSION_VERSION @ EscrowError::UnsupportedVersion,
        address = session.payer @ EscrowError::UnauthorizedPayer,
    )]
    pub payer: Signer,
    /// The session.
    #[account(mut)]
    pub session: Account<Session>,
}

impl RequestClose {
    /// Starts the grace period.
    pub fn execute(&mut self) -> Result<()> {
        let now = Clock::get()?.unix_timestamp;
        let session = &mut self.session;
        session.record_close_request(now)?;
        emit!(CloseRequested {
            session: *session.address(),
            closure_started_at: session.closure_started_at,
            deadline: session.deadline()?.unwrap_or_default().into(),
        });
        session.invariant()
    }
}
