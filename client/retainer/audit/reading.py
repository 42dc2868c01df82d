"""What audits read: the chain's word on a settlement, and receipts from files."""

from pathlib import Path

from solders.pubkey import Pubkey

from retainer.audit.settlement import OnChain
from retainer.chain.base import Chain
from retainer.errors import UnknownSessionError
from retainer.flows.settlements import find_opening
from retainer.protocol.errors import MessageError
from retainer.protocol.events import SessionClosed, events_from_logs
from retainer.protocol.receipts import Receipt, parse_receipt


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


def read_receipts(folder: Path) -> dict[int, Receipt]:
    """Receipts by sequence number: one `Payment-Receipt` text per file or per line. MessageError names a bad one."""
    found: dict[int, Receipt] = {}
    for path in sorted(folder.iterdir()):
        for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").split(), 1):
            try:
                receipt = parse_receipt(line)
            except MessageError as error:
                raise MessageError(f"{path.name}, line {number}, is no receipt: {error}") from None
            metered = receipt.retainer.metered if receipt.retainer else None
            if metered is not None:
                found[metered.sequence] = receipt
    return found
