"""Why a transaction was refused: the program's own numbers, or the runtime's word.

The numbers are written out here on purpose and not read from the IDL: clients depend on them, so a test holds the two
equal and a number that moves fails it.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from solders.transaction_status import (
    InstructionErrorBorshIO,
    InstructionErrorCustom,
    TransactionErrorInstructionError,
    TransactionErrorType,
)

FIRST_PROGRAM_ERROR = 6000


class ProgramError(IntEnum):
    """Every refusal of the session escrow, by its number on the wire."""

    PAYER_IS_PAYEE = 6000
    PAYER_IS_OPERATOR = 6001
    SPONSOR_HAS_ROLE = 6002
    UNAUTHORIZED_SUBMITTER = 6003
    UNAUTHORIZED_PAYER = 6004
    SESSION_NOT_OPEN = 6005
    SESSION_CLOSED = 6006
    OPENED_AT_MISMATCH = 6007
    SIGNER_OFF_CURVE = 6008
    INVARIANT_BROKEN = 6009

    WRONG_ESCROW = 6051
    WRONG_MINT = 6052
    WRONG_RENT_PAYER = 6053
    WRONG_TOKEN_PROGRAM = 6054
    WRONG_PAYEE_TOKEN = 6055
    WRONG_PAYER_TOKEN = 6056
    TOKEN_ACCOUNT_FROZEN = 6057
    TOKEN_ACCOUNT_MALFORMED = 6058
    ESCROW_TAMPERED = 6059
    WRONG_INSTRUCTIONS_SYSVAR = 6060
    UNSUPPORTED_VERSION = 6061
    WRONG_ATA_PROGRAM = 6063
    WRONG_RENT_SYSVAR = 6064
    WRONG_EVENT_AUTHORITY = 6065
    WRONG_PROGRAM = 6066
    MINT_MISSING = 6067

    ZERO_DEPOSIT = 6100
    ZERO_TOP_UP = 6101
    AMOUNT_OVERFLOW = 6102
    AMOUNT_BELOW_SETTLED = 6103
    AMOUNT_ABOVE_DEPOSIT = 6104
    UNITS_DECREASED = 6105
    PRICE_MISMATCH = 6106
    PRICE_ABOVE_DEPOSIT = 6107
    SPLITS_UNSUPPORTED = 6108
    UNKNOWN_FLAGS = 6109
    ESCROW_SHORT = 6110

    GRACE_OUT_OF_RANGE = 6150
    EXPIRY_OUT_OF_RANGE = 6151
    OPEN_SLOT_OUT_OF_WINDOW = 6152
    SESSION_EXPIRED = 6153
    DEADLINE_PASSED = 6154
    DEADLINE_NOT_REACHED = 6155
    WINDOW_NOT_OVER = 6156

    VOUCHER_MISSING = 6200
    VOUCHER_MALFORMED = 6201
    VOUCHER_WRONG_SIGNER = 6202
    VOUCHER_WRONG_SESSION = 6203
    VOUCHER_TOO_LOW = 6204
    VOUCHER_ABOVE_DEPOSIT = 6205
    VOUCHER_EXPIRED = 6206
    NOT_AUTHORIZED = 6207

    MINT_EXTENSION_REFUSED = 6250
    ACCOUNT_EXTENSION_REFUSED = 6251
    EXTENSIONS_MALFORMED = 6252


class AnchorError(IntEnum):
    """Anchor's own refusals, which come before the program's: it reads the accounts first."""

    NOT_WRITABLE = 2000
    NOT_EXECUTABLE = 2007
    DUPLICATE_WRITABLE = 2040


class Runtime(StrEnum):
    """Refusals by the runtime's own names, raised by it, by Anchor or by a program that we call."""

    MISSING_SIGNATURE = "MissingRequiredSignature"
    ILLEGAL_OWNER = "IllegalOwner"
    INVALID_ACCOUNT_DATA = "InvalidAccountData"
    ACCOUNT_DATA_TOO_SMALL = "AccountDataTooSmall"
    INVALID_SEEDS = "InvalidSeeds"
    INCORRECT_PROGRAM = "IncorrectProgramId"
    PRIVILEGE_ESCALATION = "PrivilegeEscalation"
    NOT_ENOUGH_ACCOUNTS = "NotEnoughAccountKeys"
    INVALID_INSTRUCTION_DATA = "InvalidInstructionData"


class Foreign(IntEnum):
    """Numbers of other programs; they overlap, so each is named by who says it."""

    SYSTEM_ACCOUNT_IN_USE = 0
    ATA_INVALID_OWNER = 0  # an alias, as the numbers are
    TOKEN_INSUFFICIENT_FUNDS = 1


Reason = IntEnum | StrEnum
"""Why a call is refused, as tests name it: a member of one of the enums above."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a transaction failed: the index of the instruction (None when none ran) and the reason.

    `reason` is a `ProgramError` where our program spoke, a number where Anchor or another program did, else the
    runtime's own name for it, such as "MissingRequiredSignature".
    """

    instruction: int | None
    reason: ProgramError | int | str


def read_refusal(error: TransactionErrorType) -> Refusal:
    """Names a failed transaction's error."""
    if not isinstance(error, TransactionErrorInstructionError):
        return Refusal(None, _name(error))
    if isinstance(error.err, InstructionErrorCustom):
        code = error.err.code
        known = code in ProgramError._value2member_map_
        return Refusal(error.index, ProgramError(code) if known else code)
    if isinstance(error.err, InstructionErrorBorshIO):
        return Refusal(error.index, "BorshIoError")
    return Refusal(error.index, _name(error.err))


def _name(error: object) -> str:
    return repr(error).rsplit(".", 1)[-1]
