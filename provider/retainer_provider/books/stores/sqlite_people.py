"""Running the people's statements in SQLite, whose one writer takes everybody's turn."""

from collections.abc import Awaitable, Callable, Sequence

import apsw

from retainer_provider.books.people import Row, Statement

Run = Callable[[Sequence[Statement]], Awaitable[list[list[Row]]]]


class SqliteStatements:
    """`write` and `read` run statements on the ledger's writer and reader."""

    def __init__(self, write: Run, read: Run) -> None:
        self._write = write
        self._read = read

    async def write(self, *statements: Statement, lock: str | None = None) -> list[list[Row]]:
        """See ``Statements.write``."""
        return await self._write(statements)

    async def read(self, statement: Statement) -> list[Row]:
        """See ``Statements.read``."""
        [rows] = await self._read([statement])
        return rows


def run(connection: apsw.Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    """Each statement to its end; their rows."""
    return [list(connection.execute(sql, bindings).fetchall()) for sql, bindings in statements]
