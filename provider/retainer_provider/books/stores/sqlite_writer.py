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
from typing import Any, Final, TypeVar

import apsw

from retainer_provider.books.ledger import CLOSED, LedgerUnavailableError

T = TypeVar("T")

# Bounds how long the first of a batch waits for the last.
_MAX_BATCH: Final = 512
# Errors of a statement, not of the disk: they undo their own operation and no other.
_OWN_FAULTS: Final = (apsw.ConstraintError, apsw.TooBigError)


@dataclass(frozen=True, slots=True)
class _Job:
    operation: Callable[[], Any]
    durable: bool
    answer: "asyncio.Future[Any]"


@dataclass(frozen=True, slots=True)
class _Result:
    value: Any = None
    error: Exception | None = None


class GroupWriter:
    """Runs operations one at a time on its connection, each whole or not at all.

    A *volatile* operation writes nothing but what a crash may forget; it sees everything that was acknowledged
    and is answered before the batch's sync. A *durable* one is answered after it. All operations of a batch are
    unacknowledged, hence concurrent, so taking the volatile ones first changes no caller's view.
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

    def submit(self, operation: Callable[[], T], *, durable: bool) -> "asyncio.Future[T]":
        """Queue an operation. Its exceptions, and LedgerUnavailableError, arrive through the future."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if self._failure is not None:
            answer.set_exception(LedgerUnavailableError(self._failure))
        else:
            self._jobs.put(_Job(operation, durable, answer))
        return answer

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
            for durable in (False, True):
                lane = [job for job in batch if job.durable is durable]
                if lane:
                    self._deliver(lane, self._perform(lane, durable=durable))

    def _next_batch(self) -> tuple[list[_Job], bool]:
        batch = [self._jobs.get()]
        while batch[-1] is not None and len(batch) < _MAX_BATCH:
            try:
                batch.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return [job for job in batch if job is not None], batch[-1] is None

    def _perform(self, lane: Sequence[_Job], *, durable: bool) -> list[_Result]:
        if self._broken:
            return [_Result(error=self._unavailable())] * len(lane)
        try:
            self._connection.execute("BEGIN IMMEDIATE" if durable else "BEGIN")
            results = [self._attempt(job) for job in lane]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it was, the books' state on disk is unknown now
            self._break(error)
            return [_Result(error=self._unavailable())] * len(lane)
        return results

    def _attempt(self, job: _Job) -> _Result:
        self._connection.execute("SAVEPOINT operation")
        try:
            result = _Result(job.operation())
        except Exception as error:
            if isinstance(error, apsw.Error) and not isinstance(error, _OWN_FAULTS):
                raise
            self._connection.execute("ROLLBACK TO operation")
            result = _Result(error=error)
        self._connection.execute("RELEASE operation")
        return result

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

    def _deliver(self, lane: Sequence[_Job], results: Sequence[_Result]) -> None:
        def deliver() -> None:
            for job, result in zip(lane, results, strict=True):
                if job.answer.done():  # its caller was cancelled
                    continue
                if result.error is not None:
                    job.answer.set_exception(result.error)
                else:
                    job.answer.set_result(result.value)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(deliver)
