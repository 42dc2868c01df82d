"""What a transaction did to sessions: each deed the program's event, the instruction that asked for it, or both.

Events say what came of an instruction, but logs are cut at 10 kB; instruction data never is. An instruction that
another program made on somebody's behalf is the other way round: only its event is seen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import TransactionInfo
from retainer.protocol.envelopes import decode_transaction
from retainer.protocol.errors import LayoutError, TransactionError
from retainer.protocol.events import (
    CloseRequested,
    Event,
    SessionClosed,
    SessionOpened,
    SessionReclaimed,
    SessionSettled,
    SessionToppedUp,
    SessionWithdrawn,
    events_from_logs,
)
from retainer.protocol.instruction_data import (
    CloseData,
    DecodedInstruction,
    OpenData,
    OpenWithTermsData,
    RequestCloseData,
    SettleData,
    TopUpData,
    WithdrawData,
    decode_instruction,
)
from retainer.protocol.instructions import ACCOUNT_NAMES

_NAMES: Final[Mapping[type[DecodedInstruction], str]] = {
    OpenData: "open",
    OpenWithTermsData: "open_with_terms",
    TopUpData: "top_up",
    RequestCloseData: "request_close",
    SettleData: "settle",
    CloseData: "close",
    WithdrawData: "withdraw",
}
_EVENTS: Final[Mapping[str, tuple[type[Event], ...]]] = {
    "open": (SessionOpened,),
    "open_with_terms": (SessionOpened,),
    "top_up": (SessionToppedUp,),
    "request_close": (CloseRequested,),
    "settle": (SessionSettled,),
    "close": (SessionClosed,),
    "withdraw": (SessionWithdrawn, SessionReclaimed),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """An instruction of the program: its ``name``, data, and accounts by the names of their slots."""

    name: str
    data: DecodedInstruction
    accounts: Mapping[str, Pubkey]

    @property
    def session(self) -> Pubkey:
        """The session that it is about."""
        return self.accounts["session"]


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing done to ``session``; ``at`` in Unix seconds, None where the node has forgotten. Never both None."""

    session: Pubkey
    signature: str
    slot: int
    at: int | None
    event: Event | None
    asked: Asked | None


def deeds_of(info: TransactionInfo, program: Pubkey) -> list[Deed]:
    """What a transaction did, in order; nothing when it failed."""
    if info.error is not None:
        return []
    asked, deeds = list(_asked(info.raw, program)), list[Deed]()
    for event in events_from_logs(info.logs, program):
        fits = (one for one in asked if one.session == event.session and isinstance(event, _EVENTS[one.name]))
        if (found := next(fits, None)) is not None:
            asked.remove(found)
        deeds.append(Deed(event.session, info.signature, info.slot, info.block_time, event, found))
    untold = [Deed(one.session, info.signature, info.slot, info.block_time, None, one) for one in asked]
    return deeds + untold


def _asked(raw: bytes, program: Pubkey) -> Iterator[Asked]:
    try:
        message = decode_transaction(raw).message
    except TransactionError:
        return
    keys = message.account_keys
    for instruction in message.instructions:
        # What a look-up table resolves is not in the bytes; the event tells of it.
        if keys[instruction.program_id_index] != program or max(instruction.accounts, default=0) >= len(keys):
            continue
        try:
            data = decode_instruction(bytes(instruction.data))
        except LayoutError:
            continue
        name = _NAMES[type(data)]
        accounts = dict(zip(ACCOUNT_NAMES[name], (keys[index] for index in instruction.accounts), strict=False))
        if "session" in accounts:
            yield Asked(name, data, accounts)
