"""Sessions that a fork changed under the books, told from nodes that only lag (F06).

A deposit may be credited before it is final, up to a cap, and the fork that it was seen on may die. What it takes back
never left the payer. Nothing is decided from an account that is missing or poorer than the books have it before the
*finalized* chain says so, at a time when nothing that was lost can land any more.
"""

from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.sessions import session_account
from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.events import events_from_logs
from retainer.protocol.session import SessionAccount
from retainer_provider.books.records import SessionRecord

# A transaction may land for 150 blocks, and there are slots without one.
_LANDING_SLOTS: Final = 300
# As long as any node keeps its history: later, one that knows nothing of a session proves nothing.
_HISTORY_SECONDS: Final = 2 * 24 * 3600
# Whoever names the address more often than this leaves the question to a person.
_SIGNATURES: Final = 100


def forked(record: SessionRecord, account: SessionAccount) -> bool:
    """Whether an account is not the one that was credited: opened at another time, or with less in it. Pure."""
    return account.opened_at != record.opened_at or account.deposit < record.deposit


class Forks:
    """Looks again, for as long as it takes; remembers since when, which a restart may forget."""

    def __init__(self, chain: Chain, program_id: Pubkey) -> None:
        self._chain = chain
        self._program_id = program_id
        self._since: dict[str, int] = {}

    async def survivor(self, record: SessionRecord) -> SessionAccount | None:
        """The session as the finalized chain has it for good; None while it may still change, or has none."""
        slot = await self._chain.slot(commitment=Commitment.FINALIZED)
        if slot < self._since.setdefault(record.session_id, slot) + _LANDING_SLOTS:
            return None
        return await self._final(record, slot)

    async def vanished(self, record: SessionRecord, now: int) -> bool:
        """Whether the session was never opened on the chain that is left, and its address cannot be opened any more."""
        slot = await self._chain.slot(commitment=Commitment.FINALIZED)
        if slot <= record.open_slot + OPEN_SLOT_WINDOW or now - record.created_at > _HISTORY_SECONDS:
            return False
        return await self._final(record, slot) is None and not await self._lived(record)

    def forget(self, session_id: str) -> None:
        """The session is at its end."""
        self._since.pop(session_id, None)

    async def _final(self, record: SessionRecord, slot: int) -> SessionAccount | None:
        return await session_account(
            self._chain,
            Pubkey.from_string(record.session_id),
            program_id=self._program_id,
            commitment=Commitment.FINALIZED,
            min_slot=slot,
        )

    async def _lived(self, record: SessionRecord) -> bool:
        """Whether any finalized transaction tells of it, or may tell of it where there are too many to read."""
        address = Pubkey.from_string(record.session_id)
        signatures = await self._chain.signatures_for(address, limit=_SIGNATURES)
        for signature in signatures:
            info = await self._chain.transaction(signature, commitment=Commitment.FINALIZED)
            if info is not None and info.error is None:
                events = events_from_logs(info.logs, self._program_id)
                if any(event.session == address for event in events):
                    return True
        return len(signatures) == _SIGNATURES
