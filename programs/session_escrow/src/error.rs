//! What can be refused. A number never changes its meaning and its range never moves; new ones go to the end of a
//! range.
//!
//! Anchor itself refuses a wrong session or vault address (`InvalidSeeds`) and a wrong system program
//! (`IncorrectProgramId`); 50 and 62 stay free.
//!
//! Offsets from 6000: 0-49 authority and status, 50-99 accounts, 100-149 amounts, 150-199 time, 200-249 voucher,
//! 250-299 token policy.

use anchor_lang::prelude::*;

/// Errors of this program, by offset from 6000.
#[error_code]
#[derive(Debug, PartialEq, Eq)]
pub enum EscrowError {
    /// 6000
    #[msg("The payer must not be the payee.")]
    PayerIsPayee = 0,
    /// 6001
    #[msg("The payer must not be the operator.")]
    PayerIsOperator = 1,
    /// 6002
    #[msg(
        "The key that pays the rent must be neither operator nor payee: it co-signs transactions that others build."
    )]
    SponsorHasRole = 2,
    /// 6003
    #[msg("Only the session's operator or payee may submit this.")]
    UnauthorizedSubmitter = 3,
    /// 6004
    #[msg("Only the session's payer may do this.")]
    UnauthorizedPayer = 4,
    /// 6005
    #[msg("The session is no longer open: a closure was requested.")]
    SessionNotOpen = 5,
    /// 6006
    #[msg("The session is closed; only its rent can still be withdrawn.")]
    SessionClosed = 6,
    /// 6007
    #[msg("opened_at is not that of this session: the settlement was made for another one.")]
    OpenedAtMismatch = 7,
    /// 6008
    #[msg("The authorized signer is not a point on the curve, so it could never sign a voucher.")]
    SignerOffCurve = 8,
    /// 6009
    #[msg("The session's fields contradict each other; please report this.")]
    InvariantBroken = 9,

    /// 6051
    #[msg("This is not the session's escrow; a session opened with terms has a vault instead of an associated token account.")]
    WrongEscrow = 51,
    /// 6052
    #[msg("This is not the session's mint, or not a mint at all.")]
    WrongMint = 52,
    /// 6053
    #[msg("This is not the account that paid the session's rent.")]
    WrongRentPayer = 53,
    /// 6054
    #[msg("The token program must be SPL Token or Token-2022, and own the mint.")]
    WrongTokenProgram = 54,
    /// 6055
    #[msg("This is not a token account of the session's mint owned by the payee.")]
    WrongPayeeToken = 55,
    /// 6056
    #[msg("This is not a token account of the session's mint owned by the payer.")]
    WrongPayerToken = 56,
    /// 6057
    #[msg("The token account is frozen; try again after it was thawed, or with another one of the same owner.")]
    TokenAccountFrozen = 57,
    /// 6058
    #[msg("This is not an initialized token account.")]
    TokenAccountMalformed = 58,
    /// 6059
    #[msg("The escrow is not solely the session's: owner, delegate or close authority differ.")]
    EscrowTampered = 59,
    /// 6060
    #[msg("The instructions sysvar is expected here.")]
    WrongInstructionsSysvar = 60,
    /// 6061
    #[msg("The session was written by another version of this program.")]
    UnsupportedVersion = 61,
    /// 6063
    #[msg("The associated token account program is expected here.")]
    WrongAtaProgram = 63,
    /// 6064
    #[msg("The rent sysvar is expected here.")]
    WrongRentSysvar = 64,
    /// 6065
    #[msg("This program's event authority is expected here.")]
    WrongEventAuthority = 65,
    /// 6066
    #[msg("This program itself is expected here.")]
    WrongProgram = 66,
    /// 6067
    #[msg("Token-2022 needs the mint here: its transfers name it, and its extensions are checked.")]
    MintMissing = 67,

    /// 6100
    #[msg("The deposit must be greater than zero.")]
    ZeroDeposit = 100,
    /// 6101
    #[msg("The amount to add must be greater than zero.")]
    ZeroTopUp = 101,
    /// 6102
    #[msg("The sum does not fit in 64 bits.")]
    AmountOverflow = 102,
    /// 6103
    #[msg("The amount is below what was already settled; amounts are cumulative.")]
    AmountBelowSettled = 103,
    /// 6104
    #[msg("The amount exceeds the deposit.")]
    AmountAboveDeposit = 104,
    /// 6105
    #[msg("charged_units is below what was already recorded; it counts all settlements.")]
    UnitsDecreased = 105,
    /// 6106
    #[msg("The amount is not charged_units times the committed price.")]
    PriceMismatch = 106,
    /// 6107
    #[msg("The deposit does not pay for a single unit at this price.")]
    PriceAboveDeposit = 107,
    /// 6108
    #[msg("Splits are not supported: count must be 0.")]
    SplitsUnsupported = 108,
    /// 6109
    #[msg("Only bit 0 of flags (batch) is known.")]
    UnknownFlags = 109,
    /// 6110
    #[msg("The escrow holds less than the session owes.")]
    EscrowShort = 110,

    /// 6150
    #[msg("The grace period must be between 900 seconds and 30 days.")]
    GraceOutOfRange = 150,
    /// 6151
    #[msg("The expiry must be 0 (never) or lie in the future, a year ahead at most.")]
    ExpiryOutOfRange = 151,
    /// 6152
    #[msg("open_slot must be one of the last 1,500 slots; build the transaction again with a recent one.")]
    OpenSlotOutOfWindow = 152,
    /// 6153
    #[msg("The session has expired.")]
    SessionExpired = 153,
    /// 6154
    #[msg("The session's deadline has passed: nothing more can be settled.")]
    DeadlinePassed = 154,
    /// 6155
    #[msg("The session's deadline has not been reached yet.")]
    DeadlineNotReached = 155,
    /// 6156
    #[msg("A closed session keeps its address until its open_slot is 1,500 slots old; withdraw its rent then.")]
    WindowNotOver = 156,

    /// 6200
    #[msg("The instruction directly before must be an Ed25519 verification of the voucher.")]
    VoucherMissing = 200,
    /// 6201
    #[msg("The Ed25519 instruction must have the canonical 162 bytes, one signature over a voucher of 50.")]
    VoucherMalformed = 201,
    /// 6202
    #[msg("The voucher was not signed by the session's authorized signer.")]
    VoucherWrongSigner = 202,
    /// 6203
    #[msg("The voucher is for another session.")]
    VoucherWrongSession = 203,
    /// 6204
    #[msg("The voucher authorizes less than the amount.")]
    VoucherTooLow = 204,
    /// 6205
    #[msg("The voucher authorizes more than the deposit.")]
    VoucherAboveDeposit = 205,
    /// 6206
    #[msg("The voucher has expired.")]
    VoucherExpired = 206,
    /// 6207
    #[msg("In metered mode only the operator may raise the settled amount.")]
    NotAuthorized = 207,

    /// 6250
    #[msg("The mint has a Token-2022 extension other than metadata and groups.")]
    MintExtensionRefused = 250,
    /// 6251
    #[msg("The token account has a Token-2022 extension other than immutable owner.")]
    AccountExtensionRefused = 251,
    /// 6252
    #[msg("The account's Token-2022 extensions are malformed.")]
    ExtensionsMalformed = 252,
}
