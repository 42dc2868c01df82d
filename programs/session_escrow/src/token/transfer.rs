//! Moving tokens: single calls, or the token program's `batch`, which runs several instructions in one call.

use crate::invoke::*;
use anchor_lang::prelude::*;
use pinocchio::cpi::Signer;

const TRANSFER: u8 = 3;
const TRANSFER_CHECKED: u8 = 12;
const CLOSE_ACCOUNT: u8 = 9;
const INITIALIZE_ACCOUNT_3: u8 = 18;
const BATCH: u8 = 255;

/// `transfer` data. The mint is not named: `token::check_account` has compared that of both accounts with the session's.
fn transfer_data(amount: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = amount.to_le_bytes();
    [TRANSFER, a, b, c, d, e, f, g, h]
}

/// `transfer_checked` data: the mint and its decimals are named, as Token-2022 demands.
fn transfer_checked_data(amount: u64, decimals: u8) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = amount.to_le_bytes();
    [TRANSFER_CHECKED, a, b, c, d, e, f, g, h, decimals]
}

/// One token movement.
pub struct Transfer<'a> {
    /// The token program.
    pub program: &'a Address,
    /// Debited.
    pub from: &'a AccountView,
    /// Of both accounts. None with SPL Token alone.
    pub mint: Option<&'a AccountView>,
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
        let (from, to, authority) = (Meta::writable(self.from), Meta::writable(self.to), Meta::signer(self.authority));
        match self.mint {
            Some(mint) => {
                let data = transfer_checked_data(amount, self.decimals);
                invoke(self.program, [from, Meta::readonly(mint), to, authority], &data, signers);
            }
            None => invoke(self.program, [from, to, authority], &transfer_data(amount), signers),
        }
    }
}

/// The first movement into a vault: initialize it for its owner, then deposit. `transfer.to` is the vault.
pub struct Fund<'a> {
    /// From the payer into the vault.
    pub transfer: Transfer<'a>,
    /// The vault's, which initializing it names in any case.
    pub mint: &'a AccountView,
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
        let initialize_metas = [Meta::writable(t.to), Meta::readonly(self.mint)];
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
        data[38..].copy_from_slice(&transfer_checked_data(amount, t.decimals));
        let metas = [
            Meta::writable(t.to),
            Meta::readonly(self.mint),
            Meta::writable(t.from),
            Meta::readonly(self.mint),
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
    /// The session's. None with SPL Token alone.
    pub mint: Option<&'a AccountView>,
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
        let (escrow, session) = (Meta::writable(self.escrow), Meta::signer(self.session));
        let (payee, payer) = (Meta::writable(payee_token), Meta::writable(self.payer_token));
        let rent_payer = Meta::writable(self.rent_payer);
        match self.mint.map(Meta::readonly) {
            Some(mint) => {
                let mut data = [0; 1 + 2 * 12 + 3];
                data[0] = BATCH;
                data[1..3].copy_from_slice(&[4, 10]);
                data[3..13].copy_from_slice(&transfer_checked_data(due, self.decimals));
                data[13..15].copy_from_slice(&[4, 10]);
                data[15..25].copy_from_slice(&transfer_checked_data(refund, self.decimals));
                data[25..].copy_from_slice(&[3, 1, CLOSE_ACCOUNT]);
                let metas = [escrow, mint, payee, session, escrow, mint, payer, session, escrow, rent_payer, session];
                invoke(self.program, metas, &data, signers);
            }
            None => {
                let mut data = [0; 1 + 2 * 11 + 3];
                data[0] = BATCH;
                data[1..3].copy_from_slice(&[3, 9]);
                data[3..12].copy_from_slice(&transfer_data(due));
                data[12..14].copy_from_slice(&[3, 9]);
                data[14..23].copy_from_slice(&transfer_data(refund));
                data[23..].copy_from_slice(&[3, 1, CLOSE_ACCOUNT]);
                let metas = [escrow, payee, session, escrow, payer, session, escrow, rent_payer, session];
                invoke(self.program, metas, &data, signers);
            }
        }
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
