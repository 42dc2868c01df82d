"""How a session ended, read from the transaction that removed it; the service's word is not asked."""

from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, TransactionInfo
from retainer.channels.channel import Settlement
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.envelopes import decode_transaction
from retainer.protocol.errors import LayoutError, TransactionError
from retainer.protocol.events import SessionClosed, SessionOpened, SessionWithdrawn, events_from_logs
from retainer.protocol.instruction_data import CloseData, decode_instruction
from retainer.protocol.instructions import ACCOUNT_NAMES

# The removing transaction is the last that did anything there; strangers may have named the address in a few since.
_HISTORY: Final = 100


async def find_settlement(
    chain: Chain, session: Pubkey, program: Pubkey, *, deposit: BaseUnits | None = None, hint: str | None = None
) -> Settlement | None:
    """The settlement of a session that is gone, or None while the node knows of none.

    ``hint`` is a signature to look at first. ``deposit`` (base units) serves where a transaction's logs were cut.
    """
    if hint is not None:
        told = await chain.transaction(hint)
        if told is not None and (found := read_settlement(told, session, program, deposit)):
            return found
    for signature in await chain.signatures_for(session, limit=_HISTORY):
        info = await chain.transaction(signature)
        if info is not None and (found := read_settlement(info, session, program, deposit)):
            return found
    return None


async def find_opening(chain: Chain, session: Pubkey, program: Pubkey) -> SessionOpened | None:
    """What the session's first transaction said about it, or None while the node knows of none."""
    page, oldest = await chain.signatures_for(session, limit=_HISTORY), list[str]()
    while page:
        oldest, page = page, await chain.signatures_for(session, limit=_HISTORY, before=page[-1])
    # Failed attempts may have come before it.
    for signature in reversed(oldest):
        info = await chain.transaction(signature)
        for event in events_from_logs(info.logs, program) if info else ():
            if isinstance(event, SessionOpened) and event.session == session:
                return event
    return None


def read_settlement(
    info: TransactionInfo, session: Pubkey, program: Pubkey, deposit: BaseUnits | None = None
) -> Settlement | None:
    """What this transaction paid when it removed the session; None when it failed or did not remove it."""
    if info.error is not None:
        return None
    for event in events_from_logs(info.logs, program):
        if isinstance(event, SessionClosed | SessionWithdrawn) and event.session == session:
            return Settlement(info.signature, event.settled, event.refunded)
    # Logs are cut at 10 kB, instruction data never is.
    settled = _closed_at(info.raw, session, program)
    if settled is None or deposit is None:
        return None
    return Settlement(info.signature, settled, BaseUnits(deposit - settled))


def _closed_at(raw: bytes, session: Pubkey, program: Pubkey) -> BaseUnits | None:
    try:
        message = decode_transaction(raw).message
    except TransactionError:
        return None
    slot = ACCOUNT_NAMES["close"].index("session")
    keys = message.account_keys
    for instruction in message.instructions:
        if keys[instruction.program_id_index] != program or len(instruction.accounts) <= slot:
            continue
        try:
            data = decode_instruction(bytes(instruction.data))
        except LayoutError:
            continue
        if isinstance(data, CloseData) and keys[instruction.accounts[slot]] == session:
            return BaseUnits(data.amount)
    return None
