"""The program's errors by number, as its IDL has them: a number never changes its meaning."""

# ruff: noqa: E501 - a message stands on one line, as in the IDL

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class ProgramError:
    """An error's name in the program and its message."""

    name: str
    message: str


PROGRAM_ERRORS: Final = MappingProxyType(
    {
        6000: ProgramError("PayerIsPayee", "The payer must not be the payee."),
        6001: ProgramError("PayerIsOperator", "The payer must not be the operator."),
        6002: ProgramError(
            "SponsorHasRole",
            "The key that pays the rent must be neither operator nor payee: it co-signs transactions that others build.",
        ),
        6003: ProgramError("UnauthorizedSubmitter", "Only the session's operator or payee may submit this."),
        6004: ProgramError("UnauthorizedPayer", "Only the session's payer may do this."),
        6005: ProgramError("SessionNotOpen", "The session is no longer open: a closure was requested."),
        6006: ProgramError("SessionClosed", "The session is closed; only its rent can still be withdrawn."),
        6007: ProgramError(
            "OpenedAtMismatch", "opened_at is not that of this session: the settlement was made for another one."
        ),
        6008: ProgramError(
            "SignerOffCurve", "The authorized signer is not a point on the curve, so it could never sign a voucher."
        ),
        6009: ProgramError("InvariantBroken", "The session's fields contradict each other; please report this."),
        6051: ProgramError(
            "WrongEscrow",
            "This is not the session's escrow; a session opened with terms has a vault instead of an associated token account.",
        ),
        6052: ProgramError("WrongMint", "This is not the session's mint, or not a mint at all."),
        6053: ProgramError("WrongRentPayer", "This is not the account that paid the session's rent."),
        6054: ProgramError("WrongTokenProgram", "The token program must be SPL Token or Token-2022, and own the mint."),
        6055: ProgramError("WrongPayeeToken", "This is not a token account of the session's mint owned by the payee."),
        6056: ProgramError("WrongPayerToken", "This is not a token account of the session's mint owned by the payer."),
        6057: ProgramError(
            "TokenAccountFrozen",
            "The token account is frozen; try again after it was thawed, or with another one of the same owner.",
        ),
        6058: ProgramError("TokenAccountMalformed", "This is not an initialized token account."),
        6059: ProgramError(
            "EscrowTampered", "The escrow is not solely the session's: owner, delegate or close authority differ."
        ),
        6060: ProgramError("WrongInstructionsSysvar", "The instructions sysvar is expected here."),
        6061: ProgramError("UnsupportedVersion", "The session was written by another version of this program."),
        6063: ProgramError("WrongAtaProgram", "The associated token account program is expected here."),
        6064: ProgramError("WrongRentSysvar", "The rent sysvar is expected here."),
        6065: ProgramError("WrongEventAuthority", "This program's event authority is expected here."),
        6066: ProgramError("WrongProgram", "This program itself is expected here."),
        6067: ProgramError(
            "MintMissing",
            "Token-2022 needs the mint here: its transfers name it, and its extensions are checked.",
        ),
        6100: ProgramError("ZeroDeposit", "The deposit must be greater than zero."),
        6101: ProgramError("ZeroTopUp", "The amount to add must be greater than zero."),
        6102: ProgramError("AmountOverflow", "The sum does not fit in 64 bits."),
        6103: ProgramError(
            "AmountBelowSettled", "The amount is below what was already settled; amounts are cumulative."
        ),
        6104: ProgramError("AmountAboveDeposit", "The amount exceeds the deposit."),
        6105: ProgramError(
            "UnitsDecreased", "charged_units is below what was already recorded; it counts all settlements."
        ),
        6106: ProgramError("PriceMismatch", "The amount is not charged_units times the committed price."),
        6107: ProgramError("PriceAboveDeposit", "The deposit does not pay for a single unit at this price."),
        6108: ProgramError("SplitsUnsupported", "Splits are not supported: count must be 0."),
        6109: ProgramError("UnknownFlags", "Only bit 0 of flags (batch) is known."),
        6110: ProgramError("EscrowShort", "The escrow holds less than the session owes."),
        6150: ProgramError("GraceOutOfRange", "The grace period must be between 900 seconds and 30 days."),
        6151: ProgramError(
            "ExpiryOutOfRange", "The expiry must be 0 (never) or lie in the future, a year ahead at most."
        ),
        6152: ProgramError(
            "OpenSlotOutOfWindow",
            "open_slot must be one of the last 1,500 slots; build the transaction again with a recent one.",
        ),
        6153: ProgramError("SessionExpired", "The session has expired."),
        6154: ProgramError("DeadlinePassed", "The session's deadline has passed: nothing more can be settled."),
        6155: ProgramError("DeadlineNotReached", "The session's deadline has not been reached yet."),
        6156: ProgramError(
            "WindowNotOver",
            "A closed session keeps its address until its open_slot is 1,500 slots old; withdraw its rent then.",
        ),
        6200: ProgramError(
            "VoucherMissing", "The instruction directly before must be an Ed25519 verification of the voucher."
        ),
        6201: ProgramError(
            "VoucherMalformed",
            "The Ed25519 instruction must have the canonical 162 bytes, one signature over a voucher of 50.",
        ),
        6202: ProgramError("VoucherWrongSigner", "The voucher was not signed by the session's authorized signer."),
        6203: ProgramError("VoucherWrongSession", "The voucher is for another session."),
        6204: ProgramError("VoucherTooLow", "The voucher authorizes less than the amount."),
        6205: ProgramError("VoucherAboveDeposit", "The voucher authorizes more than the deposit."),
        6206: ProgramError("VoucherExpired", "The voucher has expired."),
        6207: ProgramError("NotAuthorized", "In metered mode only the operator may raise the settled amount."),
        6250: ProgramError(
            "MintExtensionRefused", "The mint has a Token-2022 extension other than metadata and groups."
        ),
        6251: ProgramError(
            "AccountExtensionRefused", "The token account has a Token-2022 extension other than immutable owner."
        ),
        6252: ProgramError("ExtensionsMalformed", "The account's Token-2022 extensions are malformed."),
    }
)


def explain(code: int) -> str:
    """One sentence for a custom program error number, with its name; says so when the number is not one of ours."""
    error = PROGRAM_ERRORS.get(code)
    if error is None:
        return f"The session program has no error {code}; another program of the transaction refused it."
    return f"{error.message} ({error.name}, {code})"
