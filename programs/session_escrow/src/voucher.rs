//! Who may raise what is settled: the operator by its signature, or the payer's key by a voucher.
//!
//! A voucher is verified by the Ed25519 precompile, in the instruction directly before ours. The precompile reads
//! signature, key and message from wherever its header points, so only the one header that points into its own data is
//! accepted: what was verified is then exactly what is read here (C17).

use crate::{
    constants::ED25519_PROGRAM,
    error::EscrowError,
    state::{Claim, Session},
};
use anchor_lang::prelude::*;
use bytemuck::{Pod, Zeroable};
use pinocchio::sysvars::instructions::Instructions;

const MAGIC: [u8; 2] = [0x56, 0x01];
/// One signature; then signature at 48, key at 16, message at 112 of length 50, each in the instruction itself (index
/// 0xffff).
const HEADER: [u8; 16] = [1, 0, 48, 0, 0xff, 0xff, 16, 0, 0xff, 0xff, 112, 0, 50, 0, 0xff, 0xff];

/// The data of the Ed25519 instruction.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SignedVoucher {
    header: [u8; 16],
    key: Address,
    signature_r: [u8; 32],
    signature_s: [u8; 32],
    magic: [u8; 2],
    session: Address,
    cumulative: PodU64,
    expires_at: PodI64,
}

const _: () = assert!(core::mem::size_of::<SignedVoucher>() == 162);

/// `submitter`, who signed the instruction, may raise what `session` has settled to `claim`. `instructions` is the
/// sysvar of that name, which metered mode does without.
pub fn authorize(
    session: &Account<Session>,
    claim: &Claim,
    submitter: &Address,
    instructions: Option<&UncheckedAccount>,
    now: i64,
) -> Result<()> {
    if session.is_metered() {
        require!(*submitter == session.operator, EscrowError::NotAuthorized);
        return Ok(());
    }
    let sysvar = instructions.ok_or(EscrowError::WrongInstructionsSysvar)?;
    let instructions = Instructions::try_from(sysvar.account())?;
    let before = instructions.load_current_index().checked_sub(1).ok_or(EscrowError::VoucherMissing)?;
    let instruction = instructions.load_instruction_at(usize::from(before))?;
    require!(*instruction.get_program_id() == ED25519_PROGRAM, EscrowError::VoucherMissing);
    let voucher: &SignedVoucher =
        bytemuck::try_from_bytes(instruction.get_instruction_data()).map_err(|_| EscrowError::VoucherMalformed)?;
    require!(voucher.header == HEADER && voucher.magic == MAGIC, EscrowError::VoucherMalformed);
    require!(voucher.key == session.authorized_signer, EscrowError::VoucherWrongSigner);
    require!(voucher.session == *session.address(), EscrowError::VoucherWrongSession);
    let cumulative = voucher.cumulative.get();
    require!(claim.amount <= cumulative, EscrowError::VoucherTooLow);
    require!(cumulative <= session.deposit.get(), EscrowError::VoucherAboveDeposit);
    let expires_at = voucher.expires_at.get();
    require!(expires_at == 0 || now < expires_at, EscrowError::VoucherExpired);
    Ok(())
}
