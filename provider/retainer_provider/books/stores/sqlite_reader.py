"""Looking into a ledger's file without owning it, also while a service writes it. Nothing is changed through this."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer.protocol.usage import UsageEntry
from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.records import SessionRecord, Settlement
from retainer_provider.books.stores import sqlite_requests, sqlite_sessions, sqlite_settlements
from retainer_provider.books.stores.sqlite_file import check_file, require_known_schema, require_ledger, require_sqlite

_WAIT_MS: Final = 5000


def _unknown(_session_id: str) -> BaseUnits:
    return BaseUnits(0)


class SqliteReader:
    """A read-only view. What running requests hold is known to the serving process only, and shown as nothing."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    async def session(self, session_id: str) -> SessionRecord | None:
        """One session as last committed."""
        return sqlite_sessions.load(self._connection, _unknown, session_id)

    async def sessions(
        self, *, states: Collection[SessionState] | None = None, limit: int = 100, after: int = 0
    ) -> Sequence[SessionRecord]:
        """Sessions in order of admission."""
        return sqlite_sessions.page(self._connection, _unknown, states, limit, after)

    async def settlement(self, session_id: str) -> Settlement | None:
        """A session's settlement, live or done."""
        return sqlite_settlements.settlement(self._connection, session_id)

    async def usage(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[UsageEntry]:
        """Entries of the usage hash chain."""
        return sqlite_requests.usage(self._connection, session_id, after, limit)

    def check(self) -> None:
        """LedgerError for an SQLite, a schema or a file that a service would refuse."""
        require_sqlite(apsw.sqlite_lib_version())
        require_known_schema(self._connection, self._path)
        check_file(self._connection, self._path)


@contextmanager
def reading(path: Path) -> Iterator[SqliteReader]:
    """Read the ledger at `path` while the block runs; LedgerError says why not."""
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path} yet: the service writes it at its first start")
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise LedgerError(f"{path} could not be read: {error}. Check its rights and the disk.") from error
    try:
        connection.set_busy_timeout(_WAIT_MS)
        require_ledger(connection, path)
        yield SqliteReader(connection, path)
    except apsw.Error as error:
        raise LedgerError(f"{path} could not be read: {error}. Check its rights and the disk.") from error
    finally:
        connection.close()
