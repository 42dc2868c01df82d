"""Settling in the middle of a session, where more would be unsettled than its offer leaves at risk."""

from collections.abc import Mapping
from typing import Final

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import read_session
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.session import ChainStatus, SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import Custody, SessionRecord
from retainer_provider.settling.crediting import availability_of
from retainer_provider.settling.payout import Payout
from retainer_provider.settling.settlement import Mismatch, plan_settlement

_log = structlog.get_logger(__name__)

_PAGE: Final = 100


class InterimSettler:
    """``limits``, by offer and in base units, are what may stay unsettled. Offers without one settle at the close.

    What availability could still give back stays unsettled too: what is paid out cannot be credited.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        ledger: Ledger,
        payout: Payout,
        limits: Mapping[str, int],
        program_id: Pubkey = PROGRAM_ID,
    ) -> None:
        self._chain = chain
        self._ledger = ledger
        self._payout = payout
        self._limits = limits
        self._program_id = program_id

    async def look(self) -> None:
        """One pass over the ACTIVE sessions. Processes that share the books may both pay: the program pays once."""
        after = 0
        while page := await self._ledger.sessions(states={SessionState.ACTIVE}, limit=_PAGE, after=after):
            after = page[-1].number
            await self._page([record for record in page if self._may_owe(record, settled=0)])

    async def _page(self, records: list[SessionRecord]) -> None:
        if not records:
            return
        found = await self._chain.accounts([Pubkey.from_string(record.session_id) for record in records])
        for record, info in zip(records, found, strict=True):
            if info is None:
                continue
            try:
                account = read_session(info, self._program_id)
            except ForeignAccountError:
                continue  # the watcher says so
            if account.status is not ChainStatus.OPEN or not self._may_owe(record, account.settled):
                continue
            if account.deposit != record.deposit:
                continue  # a top-up under way: next time
            worst = (await availability_of(self._ledger, record)).worst_credit_units
            plan = plan_settlement(record, account, worst)
            if isinstance(plan, Mismatch):
                _log.error("settlement_mismatch", session=record.session_id, reason=plan.reason)
            elif self._may_owe(record, account.settled, plan.amount):
                await self._payout.pay(record, account, plan, attempt=0)

    def _may_owe(self, record: SessionRecord, settled: int, earned: BaseUnits | None = None) -> bool:
        limit = self._limits.get(record.offer_id)
        earned = record.spent if earned is None else earned
        return record.custody is Custody.ESCROW and limit is not None and earned - settled > limit
