//! Session escrow: a payer deposits a token once, the payee meters use off chain, and one `close` settles and refunds.
//!
//! The account layout, the edges of the state machine, the roles and the reasons are in
//! `docs/adr/001-session-escrow-program.md`. Each instruction has a file of its own under `instructions`; every rule
//! about amounts, status and time is a method in `state`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use anchor_lang::prelude::*;

pub mod constants;
pub mod error;
pub mod events;
pub mod instructions;
mod invoke;
pub mod state;
mod token;
mod voucher;

use instructions::*;
use state::{Claim, Terms};

// A localnet id; its key was thrown away. A public deployment declares its own (ADR 001).
declare_id!("reUf7A1fqcJL4gQQmEbTReMuidTJnUF48pJUddZqnZT");

/// The seven instructions. `open`, `top_up` and `request_close` are byte-compatible with the Solana Foundation's
/// payment-channels program.
#[program]
pub mod session_escrow {
    use super::*;

    /// Opens a session as a stock client does: no terms, the payee is the operator, the escrow is an associated token
    /// account.
    #[discrim = [1]]
    pub fn open(
        ctx: &mut Context<Open>,
        salt: u64,
        deposit: u64,
        grace_period: u32,
        open_slot: u64,
        count: u32,
    ) -> Result<()> {
        let _ = count; // refused by the accounts' constraint unless it is 0
        let terms =
            Terms { salt, deposit, grace_period, open_slot, price_per_unit: 0, expires_at: 0, sla_hash: [0; 32] };
        ctx.accounts.execute(&terms, &ctx.bumps)
    }

    /// Adds to the deposit; only while the session is open and before its expiry.
    #[discrim = [3]]
    pub fn top_up(ctx: &mut Context<TopUp>, amount: u64) -> Result<()> {
        ctx.accounts.execute(amount)
    }

    /// Starts the grace period after which the payer can withdraw.
    #[discrim = [5]]
    pub fn request_close(ctx: &mut Context<RequestClose>) -> Result<()> {
        ctx.accounts.execute()
    }

    /// Opens a session with operator, price, expiry and SLA terms committed, and a vault as its escrow.
    #[discrim = [16]]
    #[allow(clippy::too_many_arguments)]
    pub fn open_with_terms(
        ctx: &mut Context<OpenWithTerms>,
        salt: u64,
        deposit: u64,
        grace_period: u32,
        open_slot: u64,
        price_per_unit: u64,
        expires_at: i64,
        sla_hash: [u8; 32],
        flags: u8,
    ) -> Result<()> {
        let terms = Terms { salt, deposit, grace_period, open_slot, price_per_unit, expires_at, sla_hash };
        ctx.accounts.execute(&terms, flags, &ctx.bumps)
    }

    /// Pays the payee up to the cumulative `amount`; the session goes on.
    #[discrim = [17]]
    pub fn settle(ctx: &mut Context<Settle>, amount: u64, charged_units: u64, opened_at: i64) -> Result<()> {
        ctx.accounts.execute(&Claim { amount, charged_units, opened_at })
    }

    /// Settles up to the cumulative `amount`, refunds the rest and closes.
    #[discrim = [18]]
    pub fn close(
        ctx: &mut Context<Close>,
        amount: u64,
        charged_units: u64,
        opened_at: i64,
        usage_root: [u8; 32],
        flags: u8,
    ) -> Result<()> {
        ctx.accounts.execute(&Claim { amount, charged_units, opened_at }, usage_root, flags)
    }

    /// Refunds the payer once the deadline is reached, or returns the rent of a closed session. Anyone may send it.
    #[discrim = [19]]
    pub fn withdraw(ctx: &mut Context<Withdraw>) -> Result<()> {
        ctx.accounts.execute()
    }
}
