"""Running the people's statements in PostgreSQL."""

import re
from collections.abc import Sequence
from typing import Final

from retainer_provider.books.people import Row, Statement
from retainer_provider.books.stores.postgres_pool import Transactions
from retainer_provider.books.stores.postgres_rows import Connection

_PLACEHOLDER: Final = re.compile(r":([a-z_]+)")
# Held to the end of the transaction: each statement after it sees what the one before us committed.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%(lock)s, 0))"


class PostgresStatements:
    """Runs them on the ledger's connections."""

    def __init__(self, books: Transactions) -> None:
        self._books = books

    async def write(self, *statements: Statement, lock: str | None = None) -> list[list[Row]]:
        """See ``Statements.write``."""
        return await self._books.write(_run, statements, lock)

    async def read(self, statement: Statement) -> list[Row]:
        """See ``Statements.read``."""
        [rows] = await self._books.read(_run, [statement], None)
        return rows


async def _run(connection: Connection, statements: Sequence[Statement], lock: str | None) -> list[list[Row]]:
    if lock is not None:
        await connection.execute(_LOCK, {"lock": lock})
    return [await _rows(connection, statement) for statement in statements]


async def _rows(connection: Connection, statement: Statement) -> list[Row]:
    sql, bindings = statement
    cursor = await connection.execute(_PLACEHOLDER.sub(r"%(\1)s", sql), bindings)
    return [*await cursor.fetchall()] if cursor.description is not None else []
