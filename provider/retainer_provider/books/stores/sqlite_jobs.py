"""What the ledger's one writer is given to do: any operation of one transaction, or the debit of a finished request."""

import asyncio
from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from retainer_provider.books.records import Commit
from retainer_provider.books.stores.sqlite_standings import Figures, Standing

OWN_FAULTS = (apsw.ConstraintError, apsw.TooBigError)
"""Errors of a statement, not of the disk: they undo their own job and no other."""


class Job(msgspec.Struct, eq=False, kw_only=True):
    """``ended`` is told on the loop of every end, also when nobody waits for the ``answer`` any more.

    A ``quick`` one waits for nobody and touches few rows, whatever there are.
    """

    answer: "asyncio.Future[Any]"
    quick: bool
    ended: "Callable[[Any], None] | None" = None
    value: Any = None
    error: Exception | None = None

    def tell(self) -> None:
        """On the loop: it is over, durably or with ``error``."""
        if self.ended is not None:
            self.ended(self)
        if self.answer.done():  # its caller was cancelled
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.value)


class Operation(Job, eq=False, kw_only=True):
    """One transaction of any kind."""

    work: Callable[[], Any]

    def perform(self) -> None:
        """Keep what the work gives, or its own fault; any other error is the disk's and goes on."""
        try:
            self.value = self.work()
        except Exception as error:
            if isinstance(error, apsw.Error) and not isinstance(error, OWN_FAULTS):
                raise
            self.error = error


class Debit(Job, eq=False, kw_only=True):
    """The end of a request of the session that is ``standing`` so; ``figures`` are the session's after it."""

    commit: Commit
    standing: Standing
    stream: bool
    figures: Figures | None = None
