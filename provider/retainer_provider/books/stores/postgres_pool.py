"""Transactions on a pool of connections. Whatever the database does to one, its caller hears that nothing is known."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Concatenate, Final, ParamSpec, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from retainer_provider.books.ledger import CLOSED, LedgerInterruptedError, LedgerUnavailableError
from retainer_provider.books.stores.postgres_rows import Connection

P = ParamSpec("P")
T = TypeVar("T")

# For a free connection, of which a burst of requests shares few.
_CONNECTION_SECONDS: Final = 60.0
# A process that is stopped in a transaction holds a session's row: the server ends that, so that others need not wait
# for longer than its lease. For this transaction alone, since a pooler may give the connection to another.
_BEGIN: Final = """
  BEGIN ISOLATION LEVEL READ COMMITTED;
  SET LOCAL idle_in_transaction_session_timeout = {wait};
  SET LOCAL lock_timeout = {wait}"""
# Nor is this one waited for: what it wrote may be lost with a crash of the server, never changed.
_FORGETFUL: Final = _BEGIN + ";\n  SET LOCAL synchronous_commit = off"


class UndoneError(LedgerInterruptedError):
    """The database refused the transaction and lives on: nothing of it was done."""


class Transactions:
    """Runs operations, each on a connection of its own. Any of them may raise LedgerInterruptedError.

    A transaction that stands still for ``patience`` seconds, or waits for another one for so long, is undone.
    """

    def __init__(
        self, pool: AsyncConnectionPool[Connection], patience: float, connection_seconds: float = _CONNECTION_SECONDS
    ) -> None:
        self._pool = pool
        self._connection_seconds = connection_seconds
        milliseconds = round(patience * 1000)
        self._begin = _BEGIN.format(wait=milliseconds).encode()
        self._begin_forgetful = _FORGETFUL.format(wait=milliseconds).encode()

    async def open(self) -> None:
        """Begin to connect."""
        await self._pool.open()

    async def read(
        self, operation: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One statement, outside of any transaction."""
        async with self._connection() as connection:
            return await operation(connection, *args, **kwargs)

    async def once(
        self, operation: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One statement that is a transaction of its own, durable when this returns unless it says otherwise."""
        async with self._connection() as connection:
            try:
                return await operation(connection, *args, **kwargs)
            except psycopg.Error as error:
                if connection.broken:
                    raise
                raise UndoneError(_refused(error)) from error

    async def write(
        self, operation: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One transaction, durable when this returns; what the operation raises undoes it."""
        async with self._transaction(self._begin) as connection:
            return await operation(connection, *args, **kwargs)

    async def write_soon(
        self, operation: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One transaction, which a crash of the server in the next second may undo."""
        async with self._transaction(self._begin_forgetful) as connection:
            return await operation(connection, *args, **kwargs)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.close()

    @asynccontextmanager
    async def _transaction(self, begin: bytes) -> AsyncIterator[Connection]:
        # Begun by one message with its settings: each more is a round trip, which costs more than the server's work.
        async with self._connection() as connection:
            await connection.execute(begin)
            try:
                yield connection
            except BaseException as error:
                with contextlib.suppress(psycopg.Error):  # then the pool lets go of the connection
                    await connection.rollback()
                if isinstance(error, psycopg.Error) and not connection.broken:
                    raise UndoneError(_refused(error)) from error
                raise
            await connection.commit()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with self._pool.connection(timeout=self._connection_seconds) as connection:
                yield connection
        except PoolClosed as error:
            raise LedgerUnavailableError(CLOSED) from error
        except (psycopg.Error, PoolTimeout) as error:
            raise LedgerInterruptedError(_refused(error)) from error


def _refused(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"the database did not do it ({type(error).__name__}: {reason}); look at PostgreSQL and its log"
