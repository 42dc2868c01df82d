//! Reading token accounts and mints, with every check that this program needs of them.

use crate::error::EscrowError;
use anchor_lang::{
    prelude::*,
    programs::{Token, Token2022},
};
use bytemuck::{Pod, Zeroable};

/// A token account's length without extensions.
pub const ACCOUNT_LEN: usize = core::mem::size_of::<AccountLayout>();
const MINT_LEN: usize = core::mem::size_of::<MintLayout>();
/// A Token-2022 multisig has this length, and its bytes could imitate an account with extensions.
const MULTISIG_LEN: usize = 355;
/// Byte that tells mints and accounts with extensions apart, at the end of an account's base layout; the extensions
/// follow.
const ACCOUNT_TYPE_AT: usize = ACCOUNT_LEN;
const TYPE_MINT: u8 = 1;
const TYPE_ACCOUNT: u8 = 2;

const STATE_INITIALIZED: u8 = 1;
const STATE_FROZEN: u8 = 2;
const NONE: [u8; 4] = [0; 4];

/// Metadata pointer, metadata, group pointer, group, member pointer, member.
const MINT_EXTENSIONS: core::ops::RangeInclusive<u16> = 18..=23;
/// Immutable owner.
const ACCOUNT_EXTENSIONS: core::ops::RangeInclusive<u16> = 7..=7;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AccountLayout {
    mint: Address,
    owner: Address,
    amount: PodU64,
    delegate_tag: [u8; 4],
    delegate: Address,
    state: u8,
    is_native: [u8; 12],
    delegated_amount: PodU64,
    close_authority_tag: [u8; 4],
    close_authority: Address,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MintLayout {
    mint_authority: [u8; 36],
    supply: PodU64,
    decimals: u8,
    is_initialized: u8,
    freeze_authority: [u8; 36],
}

const _: () = assert!(ACCOUNT_LEN == 165 && MINT_LEN == 82);

/// SPL Token or Token-2022. Nothing else is ever called with a session's signature (C28).
pub fn is_token_program(address: &Address) -> bool {
    *address == Token::id() || *address == Token2022::id()
}

/// An initialized mint of `program` whose extensions are all allowed. Returns its decimals.
pub fn check_mint(mint: &AccountView, program: &Address) -> Result<u8> {
    require!(mint.owned_by(&Token::id()) || mint.owned_by(&Token2022::id()), EscrowError::WrongMint);
    require!(mint.owned_by(program), EscrowError::WrongTokenProgram);
    let data = mint.try_borrow()?;
    let base: &MintLayout = base_of(&data, EscrowError::WrongMint)?;
    require!(base.is_initialized == 1, EscrowError::WrongMint);
    if data.len() > MINT_LEN {
        let extensions = extensions_of(&data, TYPE_MINT, EscrowError::WrongMint)?;
        check_extensions(extensions, &MINT_EXTENSIONS, EscrowError::MintExtensionRefused)?;
    }
    Ok(base.decimals)
}

/// The mint of tokens that leave an escrow. SPL Token's mints have no extensions and its token accounts name their mint,
/// so it goes without; with Token-2022 it is demanded and checked again.
pub fn check_moving_mint(mint: Option<&UncheckedAccount>, program: &Address) -> Result<()> {
    match mint {
        Some(mint) => check_mint(mint.account(), program).map(|_| ()),
        None => {
            require!(*program == Token::id(), EscrowError::MintMissing);
            Ok(())
        }
    }
}

/// Whose token account is expected, and what it is called when it is another's.
pub struct Holder<'a> {
    /// The token program.
    pub program: &'a Address,
    /// The session's mint.
    pub mint: &'a Address,
    /// The account's authority.
    pub owner: &'a Address,
    /// What to say when program, mint or owner differ.
    pub otherwise: EscrowError,
}

/// An initialized, unfrozen token account of `holder` whose extensions are all allowed. Returns its balance.
pub fn check_account(account: &AccountView, holder: &Holder) -> Result<u64> {
    require!(account.owned_by(holder.program), holder.otherwise);
    let data = account.try_borrow()?;
    let base = checked_base(&data, holder)?;
    Ok(base.amount.get())
}

/// The mint and the payer's token account, at opening and topping up. Returns the mint's decimals.
pub fn check_payer_side(
    mint: &AccountView,
    payer_token: &AccountView,
    payer: &Address,
    program: &Address,
) -> Result<u8> {
    let decimals = check_mint(mint, program)?;
    let holder = Holder { program, mint: mint.address(), owner: payer, otherwise: EscrowError::WrongPayerToken };
    check_account(payer_token, &holder)?;
    Ok(decimals)
}

/// As [`check_account`], for an escrow that somebody else may have created beforehand: nobody but the session may move
/// or close it (C13).
pub fn check_new_escrow(account: &AccountView, holder: &Holder) -> Result<()> {
    require!(account.owned_by(holder.program), holder.otherwise);
    let data = account.try_borrow()?;
    let base = checked_base(&data, holder)?;
    require!(base.delegate_tag == NONE && base.close_authority_tag == NONE, EscrowError::EscrowTampered);
    Ok(())
}

fn checked_base<'a>(data: &'a [u8], holder: &Holder) -> Result<&'a AccountLayout> {
    let base: &AccountLayout = base_of(data, EscrowError::TokenAccountMalformed)?;
    match base.state {
        STATE_INITIALIZED => {}
        STATE_FROZEN => return Err(EscrowError::TokenAccountFrozen.into()),
        _ => return Err(EscrowError::TokenAccountMalformed.into()),
    }
    require!(base.mint == *holder.mint && base.owner == *holder.owner, holder.otherwise);
    if data.len() > ACCOUNT_LEN {
        let extensions = extensions_of(data, TYPE_ACCOUNT, EscrowError::TokenAccountMalformed)?;
        check_extensions(extensions, &ACCOUNT_EXTENSIONS, EscrowError::AccountExtensionRefused)?;
    }
    Ok(base)
}

fn base_of<T: Pod>(data: &[u8], otherwise: EscrowError) -> Result<&T> {
    let base = data.get(..core::mem::size_of::<T>()).ok_or(otherwise)?;
    bytemuck::try_from_bytes(base).map_err(|_| otherwise.into())
}

/// The bytes after the account type, which must be `expected`. SPL Token never makes such an account: its lengths are
/// fixed.
fn extensions_of(data: &[u8], expected: u8, otherwise: EscrowError) -> Result<&[u8]> {
    if data.len() == MULTISIG_LEN {
        return Err(otherwise.into());
    }
    match data.get(ACCOUNT_TYPE_AT..) {
        Some([account_type, extensions @ ..]) if *account_type == expected => Ok(extensions),
        _ => Err(otherwise.into()),
    }
}

/// Walks `type u16 | length u16 | value` records as Token-2022 does: type 0, or fewer bytes than a type takes, ends the
/// list.
fn check_extensions(mut rest: &[u8], allowed: &core::ops::RangeInclusive<u16>, refused: EscrowError) -> Result<()> {
    while let [a, b, tail @ ..] = rest {
        let kind = u16::from_le_bytes([*a, *b]);
        if kind == 0 {
            break;
        }
        if !allowed.contains(&kind) {
            return Err(refused.into());
        }
        let [c, d, values @ ..] = tail else {
            return Err(EscrowError::ExtensionsMalformed.into());
        };
        let length = usize::from(u16::from_le_bytes([*c, *d]));
        rest = values.get(length..).ok_or(EscrowError::ExtensionsMalformed)?;
    }
    Ok(())
}
