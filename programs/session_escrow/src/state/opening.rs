//! What a session is opened with, and the rules that hold before it exists.

use crate::{constants::*, error::EscrowError, state::EscrowKind};
use anchor_lang::prelude::*;

/// The numbers that both openings take. A stock `open` leaves the last three zero: variable price, no expiry, no SLA.
pub struct Terms {
    /// Chosen by the payer, so that one pair may have several sessions.
    pub salt: u64,
    /// What the payer pays in, in base units.
    pub deposit: u64,
    /// Seconds between a closure's start, or the expiry, and the deadline.
    pub grace_period: u32,
    /// A recent slot; part of the address.
    pub open_slot: u64,
    /// Base units per charged unit; 0 means that the price varies.
    pub price_per_unit: u64,
    /// Unix time from which nothing can be topped up; 0 means never.
    pub expires_at: i64,
    /// SHA-256 of the SLA terms; all zero when there are none.
    pub sla_hash: [u8; 32],
}

impl Terms {
    /// The terms lie within the bounds that keep funds from being locked and addresses from being used twice.
    pub fn validate(&self, clock: &Clock) -> Result<()> {
        require!(self.deposit > 0, EscrowError::ZeroDeposit);
        require!(self.price_per_unit <= self.deposit, EscrowError::PriceAboveDeposit);
        require!((MIN_GRACE_PERIOD..=MAX_GRACE_PERIOD).contains(&self.grace_period), EscrowError::GraceOutOfRange);
        require!(self.expires_at == 0 || self.expires_in_time(clock), EscrowError::ExpiryOutOfRange);
        let age = clock.slot.checked_sub(self.open_slot).ok_or(EscrowError::OpenSlotOutOfWindow)?;
        require!(age <= OPEN_SLOT_WINDOW, EscrowError::OpenSlotOutOfWindow);
        Ok(())
    }

    fn expires_in_time(&self, clock: &Clock) -> bool {
        match self.expires_at.checked_sub(clock.unix_timestamp) {
            Some(ahead) => ahead > 0 && ahead <= MAX_EXPIRY_AHEAD,
            None => false,
        }
    }
}

/// The keys of a session that is being opened.
pub struct Parties<'a> {
    /// Deposits and gets the refund.
    pub payer: &'a Address,
    /// Gets what was used.
    pub payee: &'a Address,
    /// Submits settlements, as the payee may.
    pub operator: &'a Address,
    /// Authorizes amounts: the operator itself (metered mode) or a key that signs vouchers.
    pub authorized_signer: &'a Address,
    /// Pays both accounts' rent and gets it back.
    pub rent_payer: &'a Address,
}

impl Parties<'_> {
    /// No key holds two roles that would let it act against another, and vouchers can be signed at all.
    pub fn validate(&self) -> Result<()> {
        require!(self.payer != self.payee, EscrowError::PayerIsPayee);
        require!(self.payer != self.operator, EscrowError::PayerIsOperator);
        require!(self.rent_payer != self.operator && self.rent_payer != self.payee, EscrowError::SponsorHasRole);
        let metered = self.authorized_signer == self.operator;
        require!(metered || self.authorized_signer.is_on_curve(), EscrowError::SignerOffCurve);
        Ok(())
    }
}

/// The token account of a session that is being opened.
pub struct Escrow {
    /// Its address.
    pub address: Address,
    /// How the address was derived.
    pub kind: EscrowKind,
    /// Its mint.
    pub mint: Address,
    /// The mint's decimals.
    pub decimals: u8,
}
