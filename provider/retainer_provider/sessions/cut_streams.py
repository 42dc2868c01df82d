"""Streams that ended with their process, or could not be booked: charged for what had left, receipt kept (F11)."""

import structlog

from retainer.protocol.signing import Signer
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import CommitOutcome
from retainer_provider.books.records import Commit, CommitFacts, CutStream, StoredAnswer
from retainer_provider.clock import Clock
from retainer_provider.wire.views import request_receipt

_log = structlog.get_logger(__name__)


class CutStreams:
    """Books them as the metering would have."""

    def __init__(self, *, ledger: Ledger, operator: Signer, clock: Clock) -> None:
        self._ledger = ledger
        self._operator = operator
        self._clock = clock

    async def book(self) -> None:
        """Charge all that there are. A retry under a stream's key is answered with its receipt from then on."""
        while found := await self._ledger.cut_streams():
            for stream in found:
                await self._book(stream)

    async def _book(self, stream: CutStream) -> None:
        progress, now = stream.progress, self._clock.now()

        def finish(facts: CommitFacts) -> StoredAnswer:
            receipt = request_receipt(facts.session, facts.entry, facts.usage_hash, self._operator, now)
            return StoredAnswer(progress.usage.status, progress.headers, None, receipt)

        committed = await self._ledger.commit(Commit(stream.reservation, progress.charge, progress.usage, finish, now))
        if committed.outcome is CommitOutcome.COMMITTED:
            _log.warning(
                "cut_stream_booked",
                session=stream.reservation.session_id,
                sequence=committed.sequence,
                units=progress.charge.units,
            )
