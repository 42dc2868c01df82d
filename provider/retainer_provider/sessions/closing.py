"""Closing a session on its payer's word: bar new requests, settle, and say what went back."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.sessions.refusals import refuse

_log = structlog.get_logger(__name__)

Settle = Callable[[str], Awaitable[object]]
"""Settles one CLOSING session to finality, as far as it gets; may be called again, also while it runs."""


class Closer:
    """`wait` is how long one call waits for the chain, in seconds; the settlement goes on without it."""

    def __init__(self, *, ledger: Ledger, settle: Settle, clock: Clock, wait: float) -> None:
        self._ledger = ledger
        self._settle = settle
        self._clock = clock
        self._wait = wait
        self._tasks: dict[str, asyncio.Task[object]] = {}

    async def close(self, record: SessionRecord) -> SessionRecord:
        """The session, REFUNDED or still CLOSING; asked again, it answers the same or further on."""
        session_id = record.session_id
        if record.state is SessionState.PENDING:
            raise refuse(
                ProblemType.DEPOSIT_UNCONFIRMED,
                f"The deposit of session {session_id} is not confirmed yet: send the credential that opened it again.",
                retry_after=2,
            )
        if record.state is SessionState.ABANDONED:
            raise refuse(
                ProblemType.SESSION_CLOSED,
                f"Session {session_id} was never active here: if its deposit did arrive, request its close on chain "
                "and withdraw it after the grace period.",
            )
        if record.state is not SessionState.REFUNDED:
            await self._ledger.begin_close(session_id, "the payer asked for it", self._clock.now())
            await asyncio.wait({self._settling(session_id)}, timeout=self._wait)
        return await self._ledger.session(session_id) or record

    async def aclose(self) -> None:
        """Stop waiting for the chain; the books know what is still to be settled."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _settling(self, session_id: str) -> asyncio.Task[object]:
        task = self._tasks.get(session_id)
        if task is None:
            task = asyncio.ensure_future(self._run(session_id))
            self._tasks[session_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(session_id, None))
        return task

    async def _run(self, session_id: str) -> object:
        try:
            return await self._settle(session_id)
        except Exception:  # noqa: BLE001 - the session stays CLOSING, and the workers try again
            _log.exception("settlement_interrupted", session=session_id)
            return None
