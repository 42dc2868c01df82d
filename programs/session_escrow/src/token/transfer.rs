//! Moving tokens: single calls, or the token program's `batch`, which runs several instructions in one call.

use crate::invoke::*;
use anchor_lang::prelude::*;
use pinocchio::cpi::Signer;

const TRANSFER_CHECKED: u8 = 12;
const CLOSE_ACCOUNT: u8 = 9;
const INITIALIZE_ACCOUNT_3: u8 = 18;
const BATCH: u8 = 255;

/// `transfer_checked` data: the mint and its decimals are named, so a lookalike cannot stand in.
fn transfer_data(amount: u64, decimals: u8) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = amount.to_le_bytes();
    [TRANSFER_CHECKED, a, b, c, d, e, f, g, h, decimals]
}

/// One token movement.
pub struct Transfer<'a> {
    /// The token program.
    pub program: &'a Address,
    /// Debited.
    pub from: &'a AccountView,
    /// Of both accounts.
    pub mint: &'a AccountView,
    /// Credited.
    pub to: &'a AccountView,
    /// Owner of `from`.
    pub authority: &'a AccountView,
    /// The mint's.
    pub decimals: u8,
}

impl Transfer<'_> {
    /// Moves `amount` base units.
    #[inline(always)]
    pub fn invoke(&self, amount: u64, signers: &[Signer]) {
        let metas = [
            Meta::writable(self.from),
            Meta::readonly(self.mint),
            Meta::writable(self.to),
            Meta::signer(self.authority),
        ];
        invoke(self.program, metas, &transfer_data(amount, self.decimals), signers);
    }
}

/// The first movement into a vault: initialize it for its owner, then deposit. `transfer.to` is the vault.
pub struct Fund<'a> {
    /// From the payer into the vault.
    pub transfer: Transfer<'a>,
    /// The session, the vault's owner.
    pub owner: &'a Address,
}

impl Fund<'_> {
    /// Initializes the vault and moves `amount` base units into it.
    #[inline(always)]
    pub fn invoke(&self, amount: u64, batch: bool) {
        let t = &self.transfer;
        let mut initialize = [0; 33];
        initialize[0] = INITIALIZE_ACCOUNT_3;
        initialize[1..].copy_from_slice(self.owner.as_ref());
        let initialize_metas = [Meta::writable(t.to), Meta::readonly(t.mint)];
        if !batch {
            invoke(t.program, initialize_metas, &initialize, &[]);
            t.invoke(amount, &[]);
            return;
        }
        let mut data = [0; 1 + 2 + 33 + 2 + 10];
        data[0] = BATCH;
        data[1..3].copy_from_slice(&[2, 33]);
        data[3..36].copy_from_slice(&initialize);
        data[36..38].copy_from_slice(&[4, 10]);
        data[38..].copy_from_slice(&transfer_data(amount, t.decimals));
        let metas = [
            Meta::writable(t.to),
            Meta::readonly(t.mint),
            Meta::writable(t.from),
            Meta::readonly(t.mint),
            Meta::writable(t.to),
            Meta::signer(t.authority),
        ];
        invoke(t.program, metas, &data, &[]);
    }
}

/// Emptying and closing an escrow.
pub struct Drain<'a> {
    /// The token program.
    pub program: &'a Address,
    /// Emptied and closed.
    pub escrow: &'a AccountView,
    /// The session's.
    pub mint: &'a AccountView,
    /// Owns the escrow.
    pub session: &'a AccountView,
    /// Gets what is left after the payee was paid.
    pub payer_token: &'a AccountView,
    /// Gets the lamports.
    pub rent_payer: &'a AccountView,
    /// The mint's.
    pub decimals: u8,
}

impl Drain<'_> {
    /// Moves `refund` base units to the payer and closes the escrow, in single calls.
    #[inline(always)]
    pub fn invoke(&self, refund: u64, signers: &[Signer]) {
        if refund > 0 {
            self.transfer_to(self.payer_token).invoke(refund, signers);
        }
        let metas = [Meta::writable(self.escrow), Meta::writable(self.rent_payer), Meta::signer(self.session)];
        invoke(self.program, metas, &[CLOSE_ACCOUNT], signers);
    }

    /// Pays `due` to `payee_token` first; everything in one `batch` if asked for.
    #[inline(always)]
    pub fn invoke_with_payment(&self, payee_token: &AccountView, amounts: Split, signers: &[Signer]) {
        let Split { due, refund, batch } = amounts;
        if !batch {
            if due > 0 {
                self.transfer_to(payee_token).invoke(due, signers);
            }
            return self.invoke(refund, signers);
        }
        let mut data = [0; 1 + 2 * 12 + 3];
        data[0] = BATCH;
        data[1..3].copy_from_slice(&[4, 10]);
        data[3..13].copy_from_slice(&transfer_data(due, self.decimals));
        data[13..15].copy_from_slice(&[4, 10]);
        data[15..25].copy_from_slice(&transfer_data(refund, self.decimals));
        data[25..].copy_from_slice(&[3, 1, CLOSE_ACCOUNT]);
        let (escrow, mint) = (Meta::writable(self.escrow), Meta::readonly(self.mint));
        let session = Meta::signer(self.session);
        let metas = [
            escrow,
            mint,
            Meta::writable(payee_token),
            session,
            escrow,
            mint,
            Meta::writable(self.payer_token),
            session,
            escrow,
            Meta::writable(self.rent_payer),
            session,
        ];
        invoke(self.program, metas, &data, signers);
    }

    #[inline(always)]
    fn transfer_to<'a>(&'a self, to: &'a AccountView) -> Transfer<'a> {
        Transfer {
            program: self.program,
            from: self.escrow,
            mint: self.mint,
            to,
            authority: self.session,
            decimals: self.decimals,
        }
    }
}

/// What a `close` moves, in base units.
pub struct Split {
    /// To the payee.
    pub due: u64,
    /// To the payer.
    pub refund: u64,
    /// In one call.
    pub batch: bool,
}
