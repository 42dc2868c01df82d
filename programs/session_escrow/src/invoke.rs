//! Cross-program calls. All `unsafe` of this crate is here, apart from what Anchor's macros write.

use anchor_lang::prelude::*;
use pinocchio::{
    cpi::{invoke_signed_unchecked, CpiAccount, Signer},
    instruction::{InstructionAccount, InstructionView},
};

/// An account of a call, with what the callee may do with it.
#[derive(Clone, Copy)]
pub struct Meta<'a> {
    view: &'a AccountView,
    writable: bool,
    signer: bool,
}

impl<'a> Meta<'a> {
    /// Neither written nor signing.
    pub fn readonly(view: &'a AccountView) -> Self {
        Self { view, writable: false, signer: false }
    }

    /// Written by the callee.
    pub fn writable(view: &'a AccountView) -> Self {
        Self { view, writable: true, signer: false }
    }

    /// Signs, by the transaction or by seeds.
    pub fn signer(view: &'a AccountView) -> Self {
        Self { view, writable: false, signer: true }
    }

    /// Signs and is written.
    pub fn writable_signer(view: &'a AccountView) -> Self {
        Self { view, writable: true, signer: true }
    }
}

/// Calls `program`; a failure of the callee ends the transaction. The account list has a fixed length, so nothing is
/// allocated. No caller passes the session as writable, or holds a reference into an account that it does.
#[inline(always)]
pub fn invoke<const N: usize>(program: &Address, accounts: [Meta; N], data: &[u8], signers: &[Signer]) {
    let metas = accounts.map(|a| InstructionAccount::new(a.view.address(), a.writable, a.signer));
    let infos = accounts.map(|a| CpiAccount::from(a.view));
    let instruction = InstructionView { program_id: program, accounts: &metas, data };
    // SAFETY: the checked call would refuse the session, which Anchor keeps marked as mutably borrowed for the whole
    // instruction. The callee cannot write it: it is passed read-only, for its signature. Of the accounts that a callee
    // does write no reference into their data is alive: `token` reads them, and its borrows end before it returns.
    unsafe { invoke_signed_unchecked(&instruction, &infos, signers) }
}
