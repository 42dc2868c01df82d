"""The one thread that writes. What queues up while it syncs goes into its next transaction: group commit.

A disk that failed a write or a sync may have dropped pages it will never admit to, so after any such error the
writer does nothing more (F23); what was acknowledged before is on disk, what was not is unknown to its caller.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import apsw

from retainer_provider.books.ledger import CLOSED, LedgerUnavailableError

T = TypeVar("T")

Ended: TypeAlias = Callable[[Any, bool], None]
"""Told on the loop what an operation gave (None where it failed), and whether its caller still waited for it."""

# Bounds how long the first of a batch waits for the last.
_MAX_BATCH: Final = 512
# Errors of a statement, not of the disk: they undo their own operation and no other.
_OWN_FAULTS: Final = (apsw.ConstraintError, apsw.TooBigError)


@dataclass(slots=True)
class _Job:
    operation: Callable[[], Any]
    durable: bool
    answer: "asyncio.Future[Any]"
    ended: Ended | None
    value: Any = None
    error: Exception | None = None


class GroupWriter:
    """Runs operations one at a time on its connection, each whole or not at all.

    A *volatile* operation only reads the file, and changes what a crash may forget; it sees everything that was
    acknowledged and is answered before the batch's sync. A *durable* one is answered after it. All operations of a
    batch are unacknowledged, hence concurrent, so taking the volatile ones first changes no caller's view.
    """

    def __init__(self, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failure: str | None = None  # why nothing more is taken
        self._broken = False  # whether that is because the disk failed
        self._thread = threading.Thread(target=self._run, name="retainer-ledger", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why the writer turned itself off, or None."""
        return self._failure

    def submit(self, operation: Callable[[], T], *, durable: bool, ended: Ended | None = None) -> "asyncio.Future[T]":
        """Queue an operation. Its exceptions, and LedgerUnavailableError, arrive through the future.

        Cancelling the future does not stop the operation: ``ended`` is told of its end in any case.
        """
        job = _Job(operation, durable, self._loop.create_future(), ended)
        if self._failure is not None:
            job.error = self._unavailable()
            self._loop.call_soon(_tell, [job])
        else:
            self._jobs.put(job)
        return job.answer

    def stop(self) -> None:
        """Take nothing more; what is queued is still done."""
        self._failure = self._failure or CLOSED
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end after ``stop``; blocks."""
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            volatile, durable = [job for job in batch if not job.durable], [job for job in batch if job.durable]
            if volatile:
                self._perform(volatile, self._look)
            if durable:
                self._perform(durable, self._write)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        batch = [self._jobs.get()]
        while batch[-1] is not None and len(batch) < _MAX_BATCH:
            try:
                batch.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return [job for job in batch if job is not None], batch[-1] is None

    def _perform(self, lane: Sequence[_Job], work: Callable[[Sequence[_Job]], None]) -> None:
        if not self._broken:
            try:
                work(lane)
            except Exception as error:  # noqa: BLE001 - whatever it was, the books' state on disk is unknown now
                self._break(error)
        if self._broken:
            for job in lane:
                job.error = self._unavailable()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_tell, lane)

    def _look(self, lane: Sequence[_Job]) -> None:
        for job in lane:
            _attempt(job)

    def _write(self, lane: Sequence[_Job]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for job in lane:
            self._connection.execute("SAVEPOINT operation")
            _attempt(job)
            if job.error is not None:
                self._connection.execute("ROLLBACK TO operation")
            self._connection.execute("RELEASE operation")
        self._connection.execute("COMMIT")

    def _break(self, error: Exception) -> None:
        self._broken = True
        self._failure = (
            f"the ledger turned itself off because its database failed ({type(error).__name__}: {error}); "
            "look at the disk, then restart the service"
        )
        # Not even the checkpoint of closing: this descriptor's disk lied once.
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        with contextlib.suppress(apsw.Error):
            self._connection.execute("ROLLBACK")

    def _unavailable(self) -> LedgerUnavailableError:
        return LedgerUnavailableError(str(self._failure))


def _attempt(job: _Job) -> None:
    """Run the operation, and keep what it gave or its own fault; any other error is the disk's and goes on."""
    try:
        job.value = job.operation()
    except Exception as error:
        if isinstance(error, apsw.Error) and not isinstance(error, _OWN_FAULTS):
            raise
        job.error = error


def _tell(lane: Sequence[_Job]) -> None:
    for job in lane:
        waiting = not job.answer.done()  # else its caller was cancelled
        if waiting and job.error is not None:
            job.answer.set_exception(job.error)
        elif waiting:
            job.answer.set_result(job.value)
        if job.ended is not None:
            job.ended(job.value if job.error is None else None, waiting)
