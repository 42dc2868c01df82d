//! One event per change of state, packed little-endian. What an auditor must have is in instruction data too, because
//! logs are cut at 10 kB.

use crate::state::Session;
use anchor_lang::prelude::*;

/// A session exists and holds its deposit.
#[event(bytemuck)]
pub struct SessionOpened {
    /// The session.
    pub session: Address,
    /// Deposits and gets the refund.
    pub payer: Address,
    /// Gets what was used.
    pub payee: Address,
    /// Submits settlements.
    pub operator: Address,
    /// Authorizes amounts.
    pub authorized_signer: Address,
    /// The token.
    pub mint: Address,
    /// Base units.
    pub deposit: PodU64,
    /// Base units; 0 means that the price varies.
    pub price_per_unit: PodU64,
    /// Unix time; 0 means never.
    pub expires_at: PodI64,
    /// Unix time.
    pub opened_at: PodI64,
    /// SHA-256 of the SLA terms; all zero when there are none.
    pub sla_hash: [u8; 32],
}

impl SessionOpened {
    /// Of a session that was just written.
    pub fn new(address: &Address, s: &Session) -> Self {
        Self {
            session: *address,
            payer: s.payer,
            payee: s.payee,
            operator: s.operator,
            authorized_signer: s.authorized_signer,
            mint: s.mint,
            deposit: s.deposit,
            price_per_unit: s.price_per_unit,
            expires_at: s.expires_at,
            opened_at: s.opened_at,
            sla_hash: s.sla_hash,
        }
    }
}

/// The deposit grew.
#[event(bytemuck)]
pub struct SessionToppedUp {
    /// The session.
    pub session: Address,
    /// Base units added.
    pub amount: PodU64,
    /// Base units in total.
    pub deposit: PodU64,
}

/// The payee was paid; the session goes on.
#[event(bytemuck)]
pub struct SessionSettled {
    /// The session.
    pub session: Address,
    /// Base units paid now.
    pub paid: PodU64,
    /// Base units in total.
    pub settled: PodU64,
    /// Units charged in total.
    pub charged_units: PodU64,
}

/// The payee was paid and the payer refunded.
#[event(bytemuck)]
pub struct SessionClosed {
    /// The session.
    pub session: Address,
    /// Deposited and got the refund.
    pub payer: Address,
    /// Got what was used.
    pub payee: Address,
    /// The token.
    pub mint: Address,
    /// Base units in total.
    pub deposit: PodU64,
    /// Base units in total.
    pub settled: PodU64,
    /// Base units to the payer, with what strangers sent.
    pub refunded: PodU64,
    /// Units charged in total.
    pub charged_units: PodU64,
    /// Unix time.
    pub opened_at: PodI64,
    /// Head of the usage log's hash chain.
    pub usage_root: [u8; 32],
}

/// The payer asked to close.
#[event(bytemuck)]
pub struct CloseRequested {
    /// The session.
    pub session: Address,
    /// Unix time.
    pub closure_started_at: PodI64,
    /// Unix time from which anyone may withdraw to the payer.
    pub deadline: PodI64,
}

/// The payer was refunded after the deadline.
#[event(bytemuck)]
pub struct SessionWithdrawn {
    /// The session.
    pub session: Address,
    /// Base units in total.
    pub settled: PodU64,
    /// Base units to the payer, with what strangers sent.
    pub refunded: PodU64,
}

/// The rent of a closed session was returned, and its address is free of an account.
#[event(bytemuck)]
pub struct SessionReclaimed {
    /// The session.
    pub session: Address,
    /// To whom.
    pub rent_payer: Address,
    /// How much.
    pub lamports: PodU64,
}
