"""Transactions written once for every store: a generator yields statements, and is sent the rows of each.

Statements are the SQL that SQLite and PostgreSQL share, with `:name` for a binding and CLOCK() for the store's clock in
seconds. Transactions run beside each other: what guards is inside the write, as everywhere in the books.
"""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Rows: TypeAlias = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its bindings."""

    sql: str
    bindings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ring:
    """Rings the bell of every process once the transaction is done."""


Steps: TypeAlias = Generator[Statement | Ring, Rows, T]


def one(sql: str, **bindings: object) -> Steps[tuple[Any, ...] | None]:
    """The statement's first row, None where there is none."""
    rows = yield Statement(sql, bindings)
    return rows[0] if rows else None


class Bell:
    """Tells who waits that something was written. A ring may be lost, so nobody waits for one alone."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    def next(self) -> asyncio.Event:
        """Set at the next ring: take it before looking at the books, then wait for it."""
        return self._next


async def heard(ring: asyncio.Event, seconds: float) -> None:
    """Return at the ring, or after so many seconds."""
    try:
        await asyncio.wait_for(ring.wait(), seconds)
    except TimeoutError:
        return


class Books(Protocol):
    """What a ledger offers to those who keep other things beside the money, in one database with it."""

    @property
    def shared(self) -> bool:
        """Whether other processes may use the same books."""
        ...

    async def transact(self, steps: Steps[T]) -> T:
        """Run the steps as one durable transaction; what they raise undoes it. LedgerUnavailableError as ever."""
        ...

    async def transact_ahead(self, steps: Steps[T]) -> T:
        """The same for what keeps a lease: it waits for no burst of other transactions."""
        ...

    async def look(self, steps: Steps[T]) -> T:
        """Run statements that only read, each for itself."""
        ...

    def listening(self) -> AbstractAsyncContextManager[Bell]:
        """The bell that transactions ring, in this process and others, while the block runs."""
        ...
