"""The one writer. What queues up while it syncs goes into its next transaction: group commit.

Its thread waits for the disk. The few rows that a request writes are put into their transaction on the event loop,
since what they take is the interpreter's time: two threads would hand its lock to each other at every signature and
statement, which costs more than it gains. Whatever may take longer is all the thread's.

A disk that failed a write or a sync may have dropped pages it will never admit to, so after any such error the
writer does nothing more (F23); what was acknowledged before is on disk, what was not is unknown to its caller.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from retainer_provider.books.ledger import CLOSED, LedgerUnavailableError
from retainer_provider.books.outcomes import CommitResult
from retainer_provider.books.records import AnswerLimits, Commit
from retainer_provider.books.stores.sqlite_debits import write_debits
from retainer_provider.books.stores.sqlite_jobs import Debit, Job, Operation
from retainer_provider.books.stores.sqlite_standings import Held

T = TypeVar("T")

# Bounds how long the first of a batch waits for the last, and everybody else for the loop.
_MAX_BATCH: Final = 64
_MAX_BODIES_ON_LOOP: Final = 256 * 1024


class _Batch(NamedTuple):
    """The jobs of one transaction, operations first; ``written`` if its rows are there and it waits for its commit."""

    jobs: Sequence[Job]
    written: bool


class GroupWriter:
    """Does jobs in batches on its connection, each job whole or not at all, and answers after the batch's sync.

    All jobs of a batch are unacknowledged, hence concurrent, so writing its debits last and at once changes no
    caller's view.
    """

    def __init__(self, connection: apsw.Connection, limits: AnswerLimits, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._limits = limits
        self._loop = loop
        self._gathered: list[Job] = []  # the next batch, which the loop hands over when the one before is done
        self._busy = False
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self.failure: str | None = None
        """Why nothing more is taken, as a sentence."""
        self._broken = False  # whether that is because the disk failed
        self._thread = threading.Thread(target=self._run, name="retainer-ledger", daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[], T], ended: "Callable[[Operation], None] | None" = None, *, quick: bool = False
    ) -> "asyncio.Future[T]":
        """Queue an operation. Its exceptions, and LedgerUnavailableError, arrive through the future.

        Cancelling the future does not stop the operation: ``ended`` is told of its end in any case.
        """
        return self._queue(Operation(answer=self._loop.create_future(), ended=ended, quick=quick, work=work))

    def book(self, commit: Commit, held: Held, ended: Callable[[Debit], None]) -> "asyncio.Future[CommitResult]":
        """Queue a debit, as ``submit`` does an operation."""
        return self._queue(
            Debit(
                answer=self._loop.create_future(),
                ended=ended,
                quick=commit.quick,
                commit=commit,
                standing=held.standing,
                stream=held.stream,
            )
        )

    def stop(self) -> None:
        """Take nothing more; what is queued is still done."""
        self.failure = self.failure or CLOSED
        gathered, self._gathered = self._gathered, []
        self._batches.put(_Batch(_in_order(gathered), written=False))
        self._batches.put(None)

    def join(self) -> None:
        """Wait for the end after ``stop``; blocks."""
        self._thread.join()

    def _queue(self, job: Job) -> "asyncio.Future[Any]":
        if self.failure is not None:
            job.error = self._unavailable()
            self._loop.call_soon(job.tell)
        else:
            self._gathered.append(job)
            if not self._busy:
                self._busy = True
                self._loop.call_soon(self._hand_over)
        return job.answer

    def _hand_over(self) -> None:
        self._busy = bool(self._gathered)
        if self._busy:
            jobs, self._gathered = _in_order(self._gathered[:_MAX_BATCH]), self._gathered[_MAX_BATCH:]
            quick = not self._broken and _are_quick(jobs)
            if quick:
                try:
                    self._write(jobs)  # the thread has nothing to do now, so the connection is the loop's
                except Exception as error:  # noqa: BLE001 - as in the thread
                    self._break(error)
            self._batches.put(_Batch(jobs, quick))

    def _tell(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.tell()
        # After those who were told have gone on: what they ask for next goes into the next batch.
        self._loop.call_soon(self._hand_over)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            if batch.jobs:
                self._perform(batch)

    def _perform(self, batch: _Batch) -> None:
        if not self._broken:
            try:
                if not batch.written:
                    self._write(batch.jobs)
                self._connection.execute("COMMIT")
            except Exception as error:  # noqa: BLE001 - whatever it was, the books' state on disk is unknown now
                self._break(error)
        if self._broken:
            for job in batch.jobs:
                job.error = self._unavailable()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, batch.jobs)

    def _write(self, jobs: Sequence[Job]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            if isinstance(job, Operation):
                self._connection.execute("SAVEPOINT operation")
                job.perform()
                if job.error is not None:
                    self._connection.execute("ROLLBACK TO operation")
                self._connection.execute("RELEASE operation")
        debits = [job for job in jobs if isinstance(job, Debit)]
        if debits:
            write_debits(self._connection, self._limits, debits)

    def _break(self, error: Exception) -> None:
        self._broken = True
        self.failure = (
            f"the ledger turned itself off because its database failed ({type(error).__name__}: {error}); "
            "look at the disk, then restart the service"
        )
        # Not even the checkpoint of closing: this descriptor's disk lied once.
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        with contextlib.suppress(apsw.Error):
            self._connection.execute("ROLLBACK")

    def _unavailable(self) -> LedgerUnavailableError:
        return LedgerUnavailableError(str(self.failure))


def _in_order(jobs: Sequence[Job]) -> Sequence[Job]:
    """As they are written, and so told: a session's figures are those that were written last."""
    return sorted(jobs, key=lambda job: isinstance(job, Debit))


def _are_quick(jobs: Sequence[Job]) -> bool:
    """Whether their rows can be written while everybody else waits."""
    bodies = 0
    for job in jobs:
        if not job.quick:
            return False
        if isinstance(job, Debit):
            bodies += job.commit.usage.body_bytes
    return bodies <= _MAX_BODIES_ON_LOOP
