"""The program's instructions as data: a one-byte discriminator, then fixed fields, nothing after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from construct import Bytes, Const, Int8ul, Int32ul, Int64sl, Int64ul, Struct
from construct import Mapping as Mapped

from retainer.protocol.codec import Layout
from retainer.protocol.errors import LayoutError

OPEN: Final = 1
TOP_UP: Final = 3
REQUEST_CLOSE: Final = 5
OPEN_WITH_TERMS: Final = 16
SETTLE: Final = 17
CLOSE: Final = 18
WITHDRAW: Final = 19


@dataclass(frozen=True, slots=True)
class OpenData:
    """Stock ``open`` without distribution splits."""

    salt: int
    deposit: int
    grace_period: int
    open_slot: int


@dataclass(frozen=True, slots=True)
class OpenWithTermsData:
    """``open_with_terms``; ``sla_hash`` is 32 bytes, zero when there are no SLA terms."""

    salt: int
    deposit: int
    grace_period: int
    open_slot: int
    price_per_unit: int
    expires_at: int
    sla_hash: bytes
    batch: bool


@dataclass(frozen=True, slots=True)
class TopUpData:
    """``top_up`` by ``amount`` base units."""

    amount: int


@dataclass(frozen=True, slots=True)
class RequestCloseData:
    """``request_close`` says nothing but its name."""


@dataclass(frozen=True, slots=True)
class SettleData:
    """``settle`` up to cumulative ``amount`` and ``charged_units``."""

    amount: int
    charged_units: int
    opened_at: int


@dataclass(frozen=True, slots=True)
class CloseData:
    """``close`` at cumulative ``amount``; ``usage_root`` is the head of the usage log's hash chain, for auditors."""

    amount: int
    charged_units: int
    opened_at: int
    usage_root: bytes
    batch: bool


@dataclass(frozen=True, slots=True)
class WithdrawData:
    """``withdraw`` says nothing but its name."""


DecodedInstruction: TypeAlias = (
    OpenData | OpenWithTermsData | TopUpData | RequestCloseData | SettleData | CloseData | WithdrawData
)

# The last byte of these is a set of flags of which only bit 0 has a meaning.
_BATCH_FLAG: Final = "batch" / Mapped(Int8ul, {False: 0, True: 1})

_OPEN: Final = Layout(
    OpenData,
    Struct(
        "salt" / Int64ul,
        "deposit" / Int64ul,
        "grace_period" / Int32ul,
        "open_slot" / Int64ul,
        # The count of distribution splits, which retainer does not have.
        Const(0, Int32ul),
    ),
    tag=bytes([OPEN]),
)
_OPEN_WITH_TERMS: Final = Layout(
    OpenWithTermsData,
    Struct(
        "salt" / Int64ul,
        "deposit" / Int64ul,
        "grace_period" / Int32ul,
        "open_slot" / Int64ul,
        "price_per_unit" / Int64ul,
        "expires_at" / Int64sl,
        "sla_hash" / Bytes(32),
        _BATCH_FLAG,
    ),
    tag=bytes([OPEN_WITH_TERMS]),
)
_TOP_UP: Final = Layout(TopUpData, Struct("amount" / Int64ul), tag=bytes([TOP_UP]))
_REQUEST_CLOSE: Final = Layout(RequestCloseData, Struct(), tag=bytes([REQUEST_CLOSE]))
_SETTLE: Final = Layout(
    SettleData,
    Struct("amount" / Int64ul, "charged_units" / Int64ul, "opened_at" / Int64sl),
    tag=bytes([SETTLE]),
)
_CLOSE: Final = Layout(
    CloseData,
    Struct(
        "amount" / Int64ul,
        "charged_units" / Int64ul,
        "opened_at" / Int64sl,
        "usage_root" / Bytes(32),
        _BATCH_FLAG,
    ),
    tag=bytes([CLOSE]),
)
_WITHDRAW: Final = Layout(WithdrawData, Struct(), tag=bytes([WITHDRAW]))

_DECODERS: Final[Mapping[int, Callable[[bytes], DecodedInstruction]]] = {
    OPEN: _OPEN.decode,
    TOP_UP: _TOP_UP.decode,
    REQUEST_CLOSE: _REQUEST_CLOSE.decode,
    OPEN_WITH_TERMS: _OPEN_WITH_TERMS.decode,
    SETTLE: _SETTLE.decode,
    CLOSE: _CLOSE.decode,
    WITHDRAW: _WITHDRAW.decode,
}


def decode_instruction(data: bytes) -> DecodedInstruction:
    """What an instruction of the program asks for; LayoutError on anything else, trailing bytes and splits included."""
    decode = _DECODERS.get(data[0]) if data else None
    if decode is None:
        raise LayoutError("this is no instruction of the session program")
    return decode(data)


def encode_instruction(instruction: DecodedInstruction) -> bytes:  # noqa: PLR0911 - one return per instruction
    """The instruction's bytes; LayoutError when a number does not fit its field."""
    match instruction:
        case OpenData():
            return _OPEN.encode(instruction)
        case OpenWithTermsData():
            return _OPEN_WITH_TERMS.encode(instruction)
        case TopUpData():
            return _TOP_UP.encode(instruction)
        case RequestCloseData():
            return _REQUEST_CLOSE.encode(instruction)
        case SettleData():
            return _SETTLE.encode(instruction)
        case CloseData():
            return _CLOSE.encode(instruction)
        case WithdrawData():
            return _WITHDRAW.encode(instruction)
