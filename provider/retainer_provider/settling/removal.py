"""Why a session's account is gone: the transaction that removed it says what was paid and what went back.

An absent account alone proves nothing: the node may lag, or the opening may have been on a fork that died. Only a
finalized transaction whose logs hold the program's own event about this session counts (F14).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment, TransactionInfo
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.events import SessionClosed, SessionWithdrawn, events_from_logs

# Anyone can name the address in transactions of their own; beyond these, an operator has to look.
_PAGE: Final = 100
_MAX_PAGES: Final = 10


class RemovalKind(StrEnum):
    """Which of the two ways out was taken."""

    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Removal:
    """The end of a session on chain; ``deposit`` is None where the event does not state it."""

    kind: RemovalKind
    signature: str
    settled: BaseUnits
    deposit: BaseUnits | None


async def find_removal(
    chain: Chain, session: Pubkey, program_id: Pubkey, *, expected: str | None = None
) -> Removal | None:
    """The finalized transaction that removed the account, or None while none is found.

    ``expected`` is looked at first: the signature of this service's own ``close``.
    """
    if expected is not None:
        removal = await _removal_by(chain, expected, session, program_id)
        if removal is not None:
            return removal
    before: str | None = None
    for _ in range(_MAX_PAGES):
        page = await chain.signatures_for(session, limit=_PAGE, before=before)
        for signature in page:
            removal = await _removal_by(chain, signature, session, program_id)
            if removal is not None:
                return removal
        if len(page) < _PAGE:
            return None
        before = page[-1]
    return None


async def _removal_by(chain: Chain, signature: str, session: Pubkey, program_id: Pubkey) -> Removal | None:
    info = await chain.transaction(signature, commitment=Commitment.FINALIZED)
    return None if info is None else removal_in(info, session, program_id)


def removal_in(info: TransactionInfo, session: Pubkey, program_id: Pubkey) -> Removal | None:
    """The removal of ``session`` that a landed transaction reports, if it does. Pure."""
    if info.error is not None:
        return None
    for event in events_from_logs(info.logs, program_id):
        if isinstance(event, SessionClosed) and event.session == session:
            return Removal(RemovalKind.CLOSED, info.signature, event.settled, event.deposit)
        if isinstance(event, SessionWithdrawn) and event.session == session:
            return Removal(RemovalKind.WITHDRAWN, info.signature, event.settled, None)
    return None
