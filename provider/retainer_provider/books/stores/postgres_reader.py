"""Looking into the books on PostgreSQL without taking part in them."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from retainer.protocol.session import SessionState
from retainer.protocol.usage import UsageEntry
from retainer_provider.books.records import SessionRecord, Settlement
from retainer_provider.books.stores import postgres_requests, postgres_sessions, postgres_settlements
from retainer_provider.books.stores.postgres_database import looking_at, require_books
from retainer_provider.books.stores.postgres_rows import Connection


class PostgresReader:
    """``LedgerReader`` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def session(self, session_id: str) -> SessionRecord | None:
        return await postgres_sessions.load(self._connection, session_id)

    async def sessions(
        self, *, states: Collection[SessionState] | None = None, limit: int = 100, after: int = 0
    ) -> Sequence[SessionRecord]:
        return await postgres_sessions.page(self._connection, states, limit, after)

    async def settlement(self, session_id: str) -> Settlement | None:
        return await postgres_settlements.settlement(self._connection, session_id)

    async def usage(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[UsageEntry]:
        return await postgres_requests.usage(self._connection, session_id, after, limit)


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[PostgresReader]:
    """Read the books at `url` while the block runs; LedgerError says why not."""
    async with looking_at(url) as connection:
        await require_books(connection)
        yield PostgresReader(connection)
