"""Debits in groups: what comes in while one transaction runs goes into the next one, whoever it is for.

A group is guessed first: decided from what its sessions were when this process saw them last, and written by one
statement that is done for those which still are so. What is left is decided once more, under the locks of its
sessions' rows, which are taken without waiting. Who holds one may be slow, or stopped: that session's part is done
again by itself, in a transaction that waits, while the group and all that follow go on. So a transaction waits for at
most one session's row, and holds none while it does: there is no circle to wait in.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

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


_Way: TypeAlias = Callable[[Sequence[_Job]], Awaitable[Sequence[Result | None]]]


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
            await asyncio.sleep(0)  # who was just answered may ask for the next already
            left = await self._perform(_next_group(self._queue), self._guess)
            for job in await self._perform(left, self._try):
                session = session_of(job.debit)
                self._contended.setdefault(session, deque()).append(job)
                self._start(session, partial(self._wait, session))

    async def _wait(self, session: str) -> None:
        while self._contended[session]:
            await self._perform(_next_group(self._contended[session]), self._insist)
        del self._contended[session]

    async def _guess(self, group: Sequence[_Job]) -> Sequence[Result | None]:
        lasting = any(job.durable for job in group)
        try:
            return await self._transactions.once(self._debits.guess, [job.debit for job in group], lasting=lasting)
        except Exception as error:
            if _unknown(error):
                raise
            return [None] * len(group)  # it was no good guess

    async def _try(self, group: Sequence[_Job], *, wait: bool = False) -> Sequence[Result | None]:
        write = self._transactions.write if any(job.durable for job in group) else self._transactions.write_soon
        return await write(self._debits.perform, [job.debit for job in group], wait=wait)

    async def _insist(self, group: Sequence[_Job]) -> Sequence[Result | None]:
        return await self._try(group, wait=True)

    async def _perform(self, group: Sequence[_Job], way: _Way) -> Sequence[_Job]:
        """Do the group and answer its members; gives those for whom nothing was done that way."""
        if not group:
            return ()
        try:
            results = await way(group)
        except Exception as error:  # noqa: BLE001 - what a receipt's signer raises as well
            if len(group) == 1 or _unknown(error):
                for job in group:
                    _tell(job, error)
                return ()
            return [again for job in group for again in await self._perform((job,), way)]
        left = []
        for job, result in zip(group, results, strict=True):
            if result is None:
                left.append(job)
            elif job.answer.done():  # its caller was cancelled
                self._unclaimed(result)
            else:
                job.answer.set_result(result)
        return left


def _next_group(queue: deque[_Job]) -> list[_Job]:
    return [queue.popleft() for _ in range(min(len(queue), _MAX_GROUP))]


def _unknown(error: Exception) -> bool:
    return isinstance(error, LedgerInterruptedError) and not isinstance(error, UndoneError)


def _tell(job: _Job, error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
