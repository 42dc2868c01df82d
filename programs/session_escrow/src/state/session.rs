//! The session account: its layout, and every transition as a method.

use crate::{
    constants::*,
    error::EscrowError,
    state::{Escrow, Parties, Terms},
};
use anchor_lang::prelude::*;
use core::mem::{offset_of, size_of};
use pinocchio::cpi::Seed;

/// What a session account says of itself. Gone is the account's absence.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Pays, and can be topped up.
    Open = 1,
    /// The payer asked to close: pays until the deadline.
    Closing = 2,
    /// Everything is paid; only the rent is left, and the address stays taken.
    Closed = 3,
}

/// How the escrow's address was derived.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EscrowKind {
    /// The session's associated token account (stock `open`).
    Ata = 0,
    /// The PDA of `"vault"` and the session.
    Vault = 1,
}

/// A settlement's claim. All numbers are cumulative over the session's life.
pub struct Claim {
    /// Base units that the payee is due in total.
    pub amount: u64,
    /// Units charged in total, for auditors and the price check.
    pub charged_units: u64,
    /// The session's own `opened_at`: a claim for an earlier session at the same address is refused.
    pub opened_at: i64,
}

/// 352 bytes with the discriminator; the offsets in ADR 001 are read by others.
#[account]
pub struct Session {
    /// [`SESSION_VERSION`].
    pub version: u8,
    /// Canonical bump of the address, found once at opening and never taken from a caller.
    pub bump: u8,
    /// A [`Status`].
    pub status: u8,
    /// An [`EscrowKind`].
    pub escrow_kind: u8,
    /// The mint's decimals.
    pub decimals: u8,
    /// Zero.
    pub reserved_a: [u8; 3],
    /// Deposits and gets the refund.
    pub payer: Address,
    /// Gets what was used.
    pub payee: Address,
    /// Submits settlements, as the payee may.
    pub operator: Address,
    /// Authorizes amounts; equal to `operator` in metered mode.
    pub authorized_signer: Address,
    /// Paid the rent; gets all lamports of both accounts.
    pub rent_payer: Address,
    /// The token.
    pub mint: Address,
    /// The token account that holds the deposit.
    pub escrow: Address,
    /// Chosen by the payer.
    pub salt: PodU64,
    /// The slot in the address.
    pub open_slot: PodU64,
    /// Paid in, in total.
    pub deposit: PodU64,
    /// Paid out to the payee, in total.
    pub settled: PodU64,
    /// Units charged, in total.
    pub charged_units: PodU64,
    /// Seconds.
    pub grace_period: PodU32,
    /// Zero.
    pub reserved_b: [u8; 4],
    /// Unix time.
    pub opened_at: PodI64,
    /// Unix time of `request_close`; 0 before.
    pub closure_started_at: PodI64,
    /// Base units; 0 means that the price varies.
    pub price_per_unit: PodU64,
    /// Unix time; 0 means never.
    pub expires_at: PodI64,
    /// SHA-256 of the SLA terms; all zero when there are none.
    pub sla_hash: [u8; 32],
}

const _: () = assert!(
    offset_of!(Session, payer) == 8
        && offset_of!(Session, escrow) == 200
        && offset_of!(Session, salt) == 232
        && offset_of!(Session, grace_period) == 272
        && offset_of!(Session, opened_at) == 280
        && offset_of!(Session, sla_hash) == 312
        && size_of::<Session>() == 344,
    "others read these offsets, 8 further on in the account"
);

impl Session {
    /// absent -> Open.
    pub fn record_opening(&mut self, parties: &Parties, terms: &Terms, escrow: &Escrow, now: i64) {
        self.version = SESSION_VERSION;
        self.escrow_kind = escrow.kind as u8;
        self.decimals = escrow.decimals;
        self.mint = escrow.mint;
        self.escrow = escrow.address;
        self.status = Status::Open as u8;
        self.payer = *parties.payer;
        self.payee = *parties.payee;
        self.operator = *parties.operator;
        self.authorized_signer = *parties.authorized_signer;
        self.rent_payer = *parties.rent_payer;
        self.salt = terms.salt.into();
        self.open_slot = terms.open_slot.into();
        self.deposit = terms.deposit.into();
        self.grace_period = terms.grace_period.into();
        self.opened_at = now.into();
        self.price_per_unit = terms.price_per_unit.into();
        self.expires_at = terms.expires_at.into();
        self.sla_hash = terms.sla_hash;
    }

    /// Open -> Open, before the expiry: adds to the deposit.
    pub fn record_top_up(&mut self, amount: u64, now: i64) -> Result<()> {
        self.require_open()?;
        require!(amount > 0, EscrowError::ZeroTopUp);
        let expires_at = self.expires_at.get();
        require!(expires_at == 0 || now < expires_at, EscrowError::SessionExpired);
        let deposit = self.deposit.get().checked_add(amount).ok_or(EscrowError::AmountOverflow)?;
        self.deposit = deposit.into();
        Ok(())
    }

    /// Open -> Closing: the grace period starts, and nothing ever restarts it.
    pub fn record_close_request(&mut self, now: i64) -> Result<()> {
        self.require_open()?;
        self.status = Status::Closing as u8;
        self.closure_started_at = now.into();
        Ok(())
    }

    /// Open or Closing, unchanged: raises what was settled. Returns what is to be paid now, in base units; the caller
    /// sees to its authorization (see `voucher::authorize`).
    pub fn record_settlement(&mut self, claim: &Claim, now: i64) -> Result<u64> {
        self.require_not_closed()?;
        require!(claim.opened_at == self.opened_at.get(), EscrowError::OpenedAtMismatch);
        let due = claim.amount.checked_sub(self.settled.get()).ok_or(EscrowError::AmountBelowSettled)?;
        require!(claim.amount <= self.deposit.get(), EscrowError::AmountAboveDeposit);
        require!(claim.charged_units >= self.charged_units.get(), EscrowError::UnitsDecreased);
        require!(self.price_fits(claim.amount, claim.charged_units), EscrowError::PriceMismatch);
        if due > 0 {
            require!(!self.deadline_reached(now)?, EscrowError::DeadlinePassed);
        }
        self.settled = claim.amount.into();
        self.charged_units = claim.charged_units.into();
        Ok(due)
    }

    /// Open or Closing -> Closed: nothing but its rent is left.
    pub fn record_close(&mut self) -> Result<()> {
        self.require_not_closed()?;
        self.status = Status::Closed as u8;
        Ok(())
    }

    /// Open or Closing -> Closed, by anyone, from the deadline on.
    pub fn record_withdrawal(&mut self, now: i64) -> Result<()> {
        require!(self.deadline_reached(now)?, EscrowError::DeadlineNotReached);
        self.record_close()
    }

    /// Only these two submit settlements; never the payer, who could use an old voucher.
    pub fn require_submitter(&self, key: &Address) -> Result<()> {
        require!(*key == self.operator || *key == self.payee, EscrowError::UnauthorizedSubmitter);
        Ok(())
    }

    /// The operator itself authorizes amounts; otherwise vouchers do.
    pub fn is_metered(&self) -> bool {
        self.authorized_signer == self.operator
    }

    /// Whether everything is paid and only the rent is left.
    pub fn is_closed(&self) -> bool {
        self.status == Status::Closed as u8
    }

    /// Vouchers outlive their session, so its address must not be opened again while its `open_slot` is still accepted.
    pub fn must_keep_address(&self, slot: u64) -> bool {
        !self.is_metered() && !self.window_is_over(slot)
    }

    /// Whether no `open` can name this session's `open_slot` any more.
    pub fn window_is_over(&self, slot: u64) -> bool {
        slot.saturating_sub(self.open_slot.get()) > OPEN_SLOT_WINDOW
    }

    /// The earlier of closure and expiry, plus the grace period; none while neither is set. From it on nothing raises
    /// `settled`, and anyone may send the payer its refund.
    pub fn deadline(&self) -> Result<Option<i64>> {
        let closure = (self.status == Status::Closing as u8).then(|| self.closure_started_at.get());
        let expiry = Some(self.expires_at.get()).filter(|&at| at != 0);
        let Some(start) = closure.into_iter().chain(expiry).min() else {
            return Ok(None);
        };
        let grace = i64::from(self.grace_period.get());
        Ok(Some(start.checked_add(grace).ok_or(EscrowError::AmountOverflow)?))
    }

    fn deadline_reached(&self, now: i64) -> Result<bool> {
        Ok(self.deadline()?.is_some_and(|deadline| now >= deadline))
    }

    /// What the escrow owes at least: tokens that strangers sent come on top.
    pub fn owed(&self) -> Result<u64> {
        Ok(self.deposit.get().checked_sub(self.settled.get()).ok_or(EscrowError::InvariantBroken)?)
    }

    /// The seeds that let the program sign for the session, from its own fields.
    pub fn signer_seeds(&self) -> [Seed<'_>; 8] {
        [
            Seed::from(SESSION_SEED),
            Seed::from(self.payer.as_array()),
            Seed::from(self.payee.as_array()),
            Seed::from(self.mint.as_array()),
            Seed::from(self.authorized_signer.as_array()),
            Seed::from(bytemuck::bytes_of(&self.salt)),
            Seed::from(bytemuck::bytes_of(&self.open_slot)),
            Seed::from(core::slice::from_ref(&self.bump)),
        ]
    }

    /// Holds after every instruction that leaves the account in place.
    pub fn invariant(&self) -> Result<()> {
        let status_fits = match self.status {
            s if s == Status::Open as u8 => self.closure_started_at.get() == 0,
            s => s == Status::Closing as u8 || s == Status::Closed as u8,
        };
        require!(
            status_fits
                && self.version == SESSION_VERSION
                && self.settled.get() <= self.deposit.get()
                && self.price_fits(self.settled.get(), self.charged_units.get()),
            EscrowError::InvariantBroken
        );
        Ok(())
    }

    /// `amount == units * price`, by division: the product could overflow.
    fn price_fits(&self, amount: u64, units: u64) -> bool {
        let price = self.price_per_unit.get();
        match (amount.checked_div(price), amount.checked_rem(price)) {
            (Some(quotient), Some(rest)) => rest == 0 && quotient == units,
            _ => true, // a variable price
        }
    }

    fn require_open(&self) -> Result<()> {
        self.require_not_closed()?;
        require!(self.status == Status::Open as u8, EscrowError::SessionNotOpen);
        Ok(())
    }

    fn require_not_closed(&self) -> Result<()> {
        require!(!self.is_closed(), EscrowError::SessionClosed);
        Ok(())
    }
}
