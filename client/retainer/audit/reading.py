"""What audits read: the chain's word on a settlement, and receipts from files."""

from pathlib import Path

from solders.pubkey import Pubkey

from retainer.audit.settlement import OnChain
from retainer.chain.base import Chain
from retainer.errors import UnknownSessionError
from retainer.flows.settlements import find_opening
from retainer.protocol.events import SessionClosed, events_from_logs
from retainer.protocol.receipts import Receipt
from retainer.stores.receipts import read_kept


async def read_onchain(chain: Chain, signature: str, program: Pubkey) -> OnChain:
    """The session that a transaction closed, from the program's events; UnknownSessionError where it closed none."""
    info = await chain.transaction(signature)
    if info is None:
        raise UnknownSessionError(f"your RPC knows no transaction {signature}", signature)
    for event in events_from_logs(info.logs, program) if info.error is None else ():
        if isinstance(event, SessionClosed):
            opened = await find_opening(chain, event.session, program)
            if opened is None:
                raise UnknownSessionError(
                    f"your RPC no longer has the opening of session {event.session}: ask one that keeps its history",
                    str(event.session),
                )
            return OnChain(opened, event)
    raise UnknownSessionError(f"transaction {signature} closed no session of program {program}", signature)


def read_receipts(folder: Path, session: Pubkey) -> dict[int, Receipt]:
    """Receipts that an agent kept for the session, by sequence number. MessageError names a bad one."""
    found: dict[int, Receipt] = {}
    for kept in read_kept(folder, str(session)):
        metered = kept.receipt.retainer.metered if kept.receipt.retainer else None
        if metered is not None:
            found[metered.sequence] = kept.receipt
    return found
