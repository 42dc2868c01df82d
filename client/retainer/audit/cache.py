"""What was read of a provider's history, in a SQLite file: an audit that was interrupted goes on, a later one is quick.

Only what is final is kept, so nothing in it is ever taken back; what is not kept is read again.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from retainer.audit.deeds import Deed
from retainer.audit.life import End, Life
from retainer.errors import StoreError
from retainer.protocol.usage import EMPTY_ROOT

# Lives are read back page by page, so that no audit holds more than this many at once.
_PAGE: Final = 500
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS seen (signature TEXT PRIMARY KEY, at INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lives (
    session TEXT PRIMARY KEY, opened INTEGER NOT NULL, whole INTEGER NOT NULL, root TEXT, life TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lives_opened ON lives (opened, session);
CREATE INDEX IF NOT EXISTS lives_root ON lives (root) WHERE root IS NOT NULL;
"""
_PUT: Final = """
INSERT INTO lives (session, opened, whole, root, life) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (session) DO UPDATE
SET opened = excluded.opened, whole = excluded.whole, root = excluded.root, life = excluded.life
"""
_LIVES: Final = "SELECT opened, session, life FROM lives WHERE (opened, session) > (?, ?) ORDER BY 1, 2 LIMIT ?"
_UNFINISHED: Final = _LIVES.replace("WHERE", "WHERE whole = 0 AND")


@dataclass(frozen=True, slots=True)
class Read:
    """One transaction as it was read; ``at`` is None where the node has forgotten its time."""

    signature: str
    at: int | None
    deeds: Sequence[Deed]


class HistoryCache:
    """One provider's history under one program. Used by one process at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """The cache in the file ``path``, made with its folder; in memory with None. StoreError says what to do."""
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # With an empty name SQLite keeps it in a temporary file, so that memory stays bounded here too.
            connection = sqlite3.connect("" if path is None else path)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                connection.close()
                raise StoreError(f"{path} was written by another version of retainer: remove it, or name another file")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path} cannot be used as a cache: {error}. Name another with --cache") from None
        return cls(connection)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def unseen(self, signatures: Sequence[str]) -> list[str]:
        """Those of the signatures whose transactions are not in here yet, in order."""
        return [one for one in signatures if self._one("SELECT 1 FROM seen WHERE signature = ?", one) is None]

    def time_of(self, signature: str) -> int | None:
        """When a transaction that was seen landed, in Unix seconds."""
        found = self._one("SELECT at FROM seen WHERE signature = ?", signature)
        return None if found is None else found[0]

    def take(self, transactions: Iterable[Read]) -> None:
        """Take in final transactions, all or none; taking one in again changes nothing."""
        with self._db:
            for read in transactions:
                for deed in read.deeds:
                    life = self.life(str(deed.session)) or Life(str(deed.session))
                    life.tell(deed)
                    self._put(life)
                self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (read.signature, read.at))

    def keep(self, lives: Iterable[Life]) -> None:
        """Keep these lives as they are now."""
        with self._db:
            for life in lives:
                self._put(life)

    def life(self, session: str) -> Life | None:
        """What is known of a session."""
        found = self._one("SELECT life FROM lives WHERE session = ?", session)
        return None if found is None else msgspec.json.decode(found[0], type=Life)

    def lives(self, *, unfinished: bool = False) -> Iterator[list[Life]]:
        """All lives by their opening, in pages; those that lack beginning or end only, where ``unfinished``."""
        at, session = -1, ""
        while rows := self._all(_UNFINISHED if unfinished else _LIVES, at, session, _PAGE):
            yield [msgspec.json.decode(row[2], type=Life) for row in rows]
            at, session = rows[-1][:2]

    def shared_roots(self) -> Iterator[tuple[str, list[str]]]:
        """Usage roots that several settlements committed to, with their sessions."""
        for (root,) in self._all("SELECT root FROM lives WHERE root IS NOT NULL GROUP BY root HAVING COUNT(*) > 1"):
            yield root, [row[0] for row in self._all("SELECT session FROM lives WHERE root = ?", root)]

    def _put(self, life: Life) -> None:
        whole = life.opening is not None and life.end in (End.CLOSED, End.WITHDRAWN)
        root = None if life.usage_root == EMPTY_ROOT.hex() else life.usage_root
        row = (life.session, life.opened_at or 0, int(whole), root, msgspec.json.encode(life).decode())
        self._db.execute(_PUT, row)

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with closing(self._db.execute(query, values)) as cursor:
            found: tuple[Any, ...] | None = cursor.fetchone()
            return found

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(self._db.execute(query, values)) as cursor:
            return cursor.fetchall()
