"""The program's events, and reading them from a transaction's logs without being fooled by other programs in it."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from construct import Bytes, Int64sl, Int64ul, Struct
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.codec import PUBLIC_KEY, Layout
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.errors import LayoutError


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A session exists and holds its deposit; ``sla_hash`` is all zero and ``price_per_unit`` 0 without terms."""

    session: Pubkey
    payer: Pubkey
    payee: Pubkey
    operator: Pubkey
    authorized_signer: Pubkey
    mint: Pubkey
    deposit: BaseUnits
    price_per_unit: BaseUnits
    expires_at: int
    opened_at: int
    sla_hash: bytes


@dataclass(frozen=True, slots=True)
class SessionToppedUp:
    """The deposit grew by ``amount`` to ``deposit``."""

    session: Pubkey
    amount: BaseUnits
    deposit: BaseUnits


@dataclass(frozen=True, slots=True)
class SessionSettled:
    """The payee was ``paid`` now, ``settled`` in all; the session goes on."""

    session: Pubkey
    paid: BaseUnits
    settled: BaseUnits
    charged_units: int


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The payee was paid and the payer ``refunded``, with what strangers sent to the escrow."""

    session: Pubkey
    payer: Pubkey
    payee: Pubkey
    mint: Pubkey
    deposit: BaseUnits
    settled: BaseUnits
    refunded: BaseUnits
    charged_units: int
    opened_at: int
    usage_root: bytes


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """The payer asked to close; from ``deadline`` on anyone may withdraw to the payer."""

    session: Pubkey
    closure_started_at: int
    deadline: int


@dataclass(frozen=True, slots=True)
class SessionWithdrawn:
    """The payer was ``refunded`` after the deadline."""

    session: Pubkey
    settled: BaseUnits
    refunded: BaseUnits


@dataclass(frozen=True, slots=True)
class SessionReclaimed:
    """The rent of a closed session went back to its payer."""

    session: Pubkey
    rent_payer: Pubkey
    lamports: int


Event: TypeAlias = (
    SessionOpened
    | SessionToppedUp
    | SessionSettled
    | SessionClosed
    | CloseRequested
    | SessionWithdrawn
    | SessionReclaimed
)

# Tags are the first 8 bytes of the SHA-256 of "event:" and the name.
_OPENED: Final = Layout(
    SessionOpened,
    Struct(
        "session" / PUBLIC_KEY,
        "payer" / PUBLIC_KEY,
        "payee" / PUBLIC_KEY,
        "operator" / PUBLIC_KEY,
        "authorized_signer" / PUBLIC_KEY,
        "mint" / PUBLIC_KEY,
        "deposit" / Int64ul,
        "price_per_unit" / Int64ul,
        "expires_at" / Int64sl,
        "opened_at" / Int64sl,
        "sla_hash" / Bytes(32),
    ),
    tag=bytes.fromhex("224f4d5fc3cf68df"),
)
_TOPPED_UP: Final = Layout(
    SessionToppedUp,
    Struct("session" / PUBLIC_KEY, "amount" / Int64ul, "deposit" / Int64ul),
    tag=bytes.fromhex("0353125174b33a96"),
)
_SETTLED: Final = Layout(
    SessionSettled,
    Struct("session" / PUBLIC_KEY, "paid" / Int64ul, "settled" / Int64ul, "charged_units" / Int64ul),
    tag=bytes.fromhex("7fa13b8817a8bf95"),
)
_CLOSED: Final = Layout(
    SessionClosed,
    Struct(
        "session" / PUBLIC_KEY,
        "payer" / PUBLIC_KEY,
        "payee" / PUBLIC_KEY,
        "mint" / PUBLIC_KEY,
        "deposit" / Int64ul,
        "settled" / Int64ul,
        "refunded" / Int64ul,
        "charged_units" / Int64ul,
        "opened_at" / Int64sl,
        "usage_root" / Bytes(32),
    ),
    tag=bytes.fromhex("39ed0bf3c222781b"),
)
_CLOSE_REQUESTED: Final = Layout(
    CloseRequested,
    Struct("session" / PUBLIC_KEY, "closure_started_at" / Int64sl, "deadline" / Int64sl),
    tag=bytes.fromhex("8878aa4ea8ec2f76"),
)
_WITHDRAWN: Final = Layout(
    SessionWithdrawn,
    Struct("session" / PUBLIC_KEY, "settled" / Int64ul, "refunded" / Int64ul),
    tag=bytes.fromhex("488c61d78d4e0470"),
)
_RECLAIMED: Final = Layout(
    SessionReclaimed,
    Struct("session" / PUBLIC_KEY, "rent_payer" / PUBLIC_KEY, "lamports" / Int64ul),
    tag=bytes.fromhex("13bcf97616e2ba43"),
)

_DECODERS: Final[Mapping[bytes, Callable[[bytes], Event]]] = {
    _OPENED.tag: _OPENED.decode,
    _TOPPED_UP.tag: _TOPPED_UP.decode,
    _SETTLED.tag: _SETTLED.decode,
    _CLOSED.tag: _CLOSED.decode,
    _CLOSE_REQUESTED.tag: _CLOSE_REQUESTED.decode,
    _WITHDRAWN.tag: _WITHDRAWN.decode,
    _RECLAIMED.tag: _RECLAIMED.decode,
}
_TAG_LENGTH: Final = 8

_INVOKE: Final = re.compile(r"Program ([1-9A-HJ-NP-Za-km-z]{32,44}) invoke \[([1-9]\d{0,2})\]\Z", re.ASCII)
_LEAVE: Final = re.compile(r"Program ([1-9A-HJ-NP-Za-km-z]{32,44}) (success\Z|failed)", re.ASCII)
_DATA: Final = "Program data: "
_TRUNCATED: Final = "Log truncated"


def decode_event(data: bytes) -> Event | None:
    """The event that the program logged; None when ``data`` is none of its events, whole and alone."""
    decode = _DECODERS.get(data[:_TAG_LENGTH])
    if decode is None:
        return None
    try:
        return decode(data)
    except LayoutError:
        return None


def events_from_logs(logs: Sequence[str], program_id: Pubkey = PROGRAM_ID) -> list[Event]:
    """The events of one transaction in order; none when it failed, and only those before the logs were cut.

    Any program can log bytes that look like an event, so a line counts only while the innermost running program is
    ours. What a program logs as text always starts with "Program log: " and can imitate none of the runtime's lines.
    """
    events: list[Event] = []
    running: list[str] = []
    for line in logs:
        if line == _TRUNCATED:
            break
        if (entered := _INVOKE.match(line)) is not None:
            # The runtime states the depth, so a line that got lost cannot leave a finished program on top.
            del running[int(entered.group(2)) - 1 :]
            running.append(entered.group(1))
        elif (left := _LEAVE.match(line)) is not None:
            if left.group(2) == "failed":
                return []
            if running and running[-1] == left.group(1):
                running.pop()
        elif line.startswith(_DATA) and running and running[-1] == str(program_id):
            event = decode_event(_logged_bytes(line.removeprefix(_DATA)))
            if event is not None:
                events.append(event)
    return events


def _logged_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
