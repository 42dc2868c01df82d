"""Sessions in a SQLite file, shared by the processes of one machine.

The file keeps a rollback journal, not a WAL: several connections write to it, and the SQLite of many Pythons has the
WAL-reset bug. Each call has a connection of its own, so that the store may be used from any thread and after a fork.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.errors import StoreError
from retainer.stores.base import entry_key, figures, require_covered, shrinking, unknown
from retainer.stores.holds import FileHolds
from retainer.stores.records import channel_from_text, channel_to_text

T = TypeVar("T")

_PRIVATE: Final = 0o600
_VERSION: Final = 2
_LOCK_SECONDS: Final = 30.0
# Amounts are u64, and SQLite's integers i64: as text of one width they compare as numbers do.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sessions (
    opened INTEGER PRIMARY KEY,
    payer TEXT NOT NULL,
    session_id TEXT NOT NULL,
    entry_key TEXT NOT NULL,
    usable INTEGER NOT NULL,
    deposit TEXT NOT NULL,
    spent TEXT NOT NULL,
    charged TEXT NOT NULL,
    signed TEXT NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (payer, session_id)
) STRICT
"""
# The first form knew no vouchers.
_FROM_VERSION_1: Final = "ALTER TABLE sessions ADD COLUMN signed TEXT NOT NULL DEFAULT '00000000000000000000'"
# The guard stands in the write itself: whoever writes, no figure goes down.
_WRITE: Final = """
INSERT INTO sessions (payer, session_id, entry_key, usable, deposit, spent, charged, signed, record)
VALUES (:payer, :session_id, :entry_key, :usable, :deposit, :spent, :charged, :signed, :record)
ON CONFLICT (payer, session_id) DO UPDATE
SET entry_key = coalesce(:moved, entry_key), usable = excluded.usable, deposit = excluded.deposit,
    spent = excluded.spent, charged = excluded.charged, signed = excluded.signed, record = excluded.record
WHERE excluded.deposit >= deposit AND excluded.spent >= spent AND excluded.charged >= charged
    AND excluded.signed >= signed
"""
_FIND: Final = "SELECT payer, session_id, record FROM sessions WHERE payer = ? AND session_id = ?"
_GET: Final = """
SELECT payer, session_id, record FROM sessions WHERE entry_key = ? AND usable ORDER BY opened DESC LIMIT 1
"""
_ALL: Final = "SELECT payer, session_id, record FROM sessions WHERE payer = ? ORDER BY opened"
_DELETE: Final = "DELETE FROM sessions WHERE entry_key = ?"
_FORGET: Final = "DELETE FROM sessions WHERE payer = ? AND session_id = ?"


class SqliteChannelStore(FileHolds):
    """A `SessionStore` in a file, made with its folder on first use; readable by its owner alone.

    What its processes hold stands in a folder beside it, which is empty when none of them waits for an answer.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()
        super().__init__(self._path.with_name(f"{self._path.name}.held"))

    async def get(self, scope: ChannelScope) -> Channel | None:
        """The latest session that can pay for the scope."""
        channels = await self._in_thread(lambda db: _read(db, _GET, entry_key(scope)))
        if any(not scope.covers(channel.scope) or not channel.usable for channel in channels):
            raise StoreError(f"{self._path} has filed a session under something else than it pays for")
        return channels[0] if channels else None

    async def set(self, scope: ChannelScope, channel: Channel) -> None:
        """Keep this version under the scope."""
        require_covered(scope, channel)
        await self._in_thread(lambda db: _write(db, channel, entry_key(scope)))

    async def delete(self, scope: ChannelScope) -> None:
        """Forget all sessions of the scope."""
        await self._in_thread(lambda db: db.execute(_DELETE, (entry_key(scope),)))

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        return await self._in_thread(lambda db: _find(db, payer, session_id))

    async def update(self, payer: Pubkey, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply ``change``, in another thread, to the newest version and keep the result."""

        def work(db: sqlite3.Connection) -> Channel:
            with _transaction(db):
                kept = _find(db, payer, session_id)
                if kept is None:
                    raise unknown(session_id)
                changed = change(kept)
                _write(db, changed)
                return changed

        return await self._in_thread(work)

    async def choose(self, payer: Pubkey, choice: Callable[[list[Channel]], Channel]) -> Channel:
        """Keep what ``choice``, in another thread, makes of all the payer's sessions."""

        def work(db: sqlite3.Connection) -> Channel:
            with _transaction(db):
                chosen = choice(_read(db, _ALL, str(payer)))
                _write(db, chosen)
                return chosen

        return await self._in_thread(work)

    async def forget(self, payer: Pubkey, session_id: str) -> None:
        """Delete one session; nothing happens when it is not there."""
        await self._in_thread(lambda db: db.execute(_FORGET, (str(payer), session_id)))

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        return await self._in_thread(lambda db: _read(db, _ALL, str(payer)))

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._connected, work)

    def _connected(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Private from the first byte; SQLite gives its journal the mode of the file.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, _PRIVATE))
            with closing(sqlite3.connect(self._path, timeout=_LOCK_SECONDS, isolation_level=None)) as db:
                self._prepare(db)
                return work(db)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be opened: {error.strerror}") from None
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path} cannot be used: {error}. If it is damaged, move it away; deposits in it can be "
                "withdrawn by the addresses of their sessions"
            ) from None

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == _VERSION:
            return
        with _transaction(db):
            # Again under the lock: another process may have made the file meanwhile.
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in (0, 1, _VERSION):
                raise StoreError(f"{self._path} was written by another version of retainer (its form is {version})")
            if version != _VERSION:
                db.execute(_FROM_VERSION_1 if version else _SCHEMA)
                db.execute(f"PRAGMA user_version = {_VERSION}")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    # IMMEDIATE: the lock comes before the read, so that nobody writes between the two.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _write(db: sqlite3.Connection, channel: Channel, moved: str | None = None) -> None:
    """Keep the session, under the entry key ``moved`` where there is one, else where it was."""
    deposit, spent, charged, signed = (f"{figure:020d}" for figure in figures(channel))
    row = {
        "payer": str(channel.payer),
        "session_id": channel.session_id,
        "entry_key": moved or entry_key(channel.scope),
        "moved": moved,
        "usable": int(channel.usable),
        "deposit": deposit,
        "spent": spent,
        "charged": charged,
        "signed": signed,
        "record": channel_to_text(channel),
    }
    if db.execute(_WRITE, row).rowcount != 1:
        raise shrinking(channel.session_id)


def _find(db: sqlite3.Connection, payer: Pubkey, session_id: str) -> Channel | None:
    return next(iter(_read(db, _FIND, str(payer), session_id)), None)


def _read(db: sqlite3.Connection, query: str, *parameters: str) -> list[Channel]:
    return [
        channel_from_text(record, Pubkey.from_string(payer), session_id)
        for payer, session_id, record in db.execute(query, parameters).fetchall()
    ]
