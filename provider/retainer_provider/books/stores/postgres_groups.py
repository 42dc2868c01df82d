"""Debits in groups: what comes in while one transaction runs goes into the next one, whoever it is for.

A group takes the rows of its sessions without waiting. Who holds one may be slow, or stopped: that session's part is
done again by itself, in a transaction that waits, while the group and all that follow go on. So a transaction waits
for at most one session's row, and holds none while it does: there is no circle to wait in.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from retainer_provider.books.ledger import LedgerInterruptedError
from retainer_provider.books.records import Commit
from retainer_provider.books.stores.postgres_debits import Debit, Debits, Result, session_of
from retainer_provider.books.stores.postgres_pool import Transactions, UndoneError

# Bounds how long the first of a group waits for the last, and what one statement carries.
_MAX_GROUP: Final = 256
_ALL: Final = ""  # the name of the queue of all sessions


@dataclass(slots=True, eq=False)
class _Job:
    debit: Debit
    answer: "asyncio.Future[Any]"

    @property
    def durable(self) -> bool:
        """Whether it must not be lost. A reservation may: its commit finds nothing then. What is signed may not."""
        return isinstance(self.debit, Commit) or self.debit.request.voucher is not None


class Groups:
    """Runs debits, many at once. Each is answered: also by LedgerUnavailableError.

    What fails for one debit is undone for its group, and then done for each by itself, so that it fails alone. Where
    nobody knows whether a group was done, nobody does so for any of its debits.
    """

    def __init__(self, transactions: Transactions, debits: Debits, unclaimed: Callable[[Result], None]) -> None:
        self._transactions = transactions
        self._debits = debits
        self._unclaimed = unclaimed
        self._queue: deque[_Job] = deque()
        self._contended: dict[str, deque[_Job]] = {}  # by session whose row another transaction had
        self._running: dict[str, asyncio.Task[None]] = {}

    def submit(self, debit: Debit) -> "asyncio.Future[Any]":
        """Queue a debit. Who cancels the future does not stop it: ``unclaimed`` gets its result then."""
        job = _Job(debit, asyncio.get_running_loop().create_future())
        contended = self._contended.get(session_of(debit))
        if contended is not None:
            contended.append(job)
        else:
            self._queue.append(job)
            self._start(_ALL, self._drive)
        return job.answer

    async def settled(self) -> None:
        """Return once nothing is queued or under way."""
        while self._running:
            await asyncio.gather(*self._running.values())

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._running:
            self._running[name] = asyncio.create_task(self._run(name, work))

    async def _run(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        finally:  # in the same breath as it found its queue empty: what comes after that starts it anew
            del self._running[name]

    async def _drive(self) -> None:
        while self._queue:
            for job in await self._perform(_next_group(self._queue), wait=False):
                session = session_of(job.debit)
                self._contended.setdefault(session, deque()).append(job)
                self._start(session, partial(self._wait, session))

    async def _wait(self, session: str) -> None:
        while self._contended[session]:
            await self._perform(_next_group(self._contended[session]), wait=True)
        del self._contended[session]

    async def _perform(self, group: Sequence[_Job], *, wait: bool) -> Sequence[_Job]:
        """Do the group and answer its members; gives those whose session's row was not to be had."""
        durable = any(job.durable for job in group)
        write = self._transactions.write if durable else self._transactions.write_soon
        try:
            results = await write(self._debits.perform, [job.debit for job in group], wait=wait)
        except Exception as error:  # noqa: BLE001 - what a receipt's signer raises as well
            if len(group) == 1 or _unknown(error):
                for job in group:
                    _tell(job, error)
                return ()
            return [again for job in group for again in await self._perform((job,), wait=wait)]
        passed_over = []
        for job, result in zip(group, results, strict=True):
            if result is None:
                passed_over.append(job)
            elif job.answer.done():  # its caller was cancelled
                self._unclaimed(result)
            else:
                job.answer.set_result(result)
        return passed_over


def _next_group(queue: deque[_Job]) -> list[_Job]:
    return [queue.popleft() for _ in range(min(len(queue), _MAX_GROUP))]


def _unknown(error: Exception) -> bool:
    return isinstance(error, LedgerInterruptedError) and not isinstance(error, UndoneError)


def _tell(job: _Job, error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
