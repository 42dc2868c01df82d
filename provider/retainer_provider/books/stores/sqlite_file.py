"""Opening the database file: one process, one known schema, a sound SQLite, a sound file; or a sentence why not."""

import fcntl
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import apsw

from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.local_disk import require_local

# Before 3.51.3 a reader and a writer racing for a WAL reset could lose committed pages.
MINIMUM_SQLITE: Final = (3, 51, 3)
# "RTNR": tells a ledger from any other SQLite file (PRAGMA application_id).
APPLICATION_ID: Final = 0x52544E52
_READER_WAIT_MS: Final = 5000
# The WAL is cut back to this size after a checkpoint, so that one burst does not keep the disk.
_WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_CHECKPOINT_PAGES: Final = 4000


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """The open file. Close desk, reader, writer and lock in this order."""

    writer: apsw.Connection
    reader: apsw.Connection
    desk: apsw.Connection  # for the event loop's thread: single rows that are found by their keys
    lock: int  # file descriptor


def open_database(path: Path) -> DatabaseFile:
    """Open or create the ledger at ``path`` for this process alone. LedgerError says what to do."""
    require_sqlite(apsw.sqlite_lib_version())
    require_local(path)
    lock = _lock(path)
    try:
        # Answers and receipts are private: WAL and shared-memory files inherit this mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        writer = apsw.Connection(str(path))
        try:
            _refuse_foreign(writer, path)
            _configure_writer(writer)
            _migrate(writer, path)
            check_file(writer, path)
            reader, desk = _reader(path), _reader(path)
        except BaseException:
            writer.close()
            raise
    except apsw.Error as error:
        os.close(lock)
        raise LedgerError(
            f"{path} could not be opened as a ledger: {error}. Check the path, its rights and the disk, "
            "or restore a backup."
        ) from error
    except OSError as error:
        os.close(lock)
        raise LedgerError(
            f"{path} could not be created: {error.strerror}. Check the directory and its rights."
        ) from error
    except BaseException:
        os.close(lock)
        raise
    return DatabaseFile(writer, reader, desk, lock)


def _reader(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(_READER_WAIT_MS)
    # Plans that do not depend on what is bound: else a join is planned anew with every binding, 60 us each time.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


def require_sqlite(version: str) -> None:
    """Refuse an SQLite that can lose committed data."""
    if tuple(int(part) for part in version.split(".")) < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise LedgerError(f"SQLite {version} can lose committed data: install an apsw with {needed} or newer.")


def _lock(path: Path) -> int:
    # Not the database file itself: closing any descriptor of it would drop SQLite's own locks on it.
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerError(
            f"{lock_path} could not be created: {error.strerror}. Check the directory and its rights."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 20).decode("ascii", "replace") or "unknown"
        os.close(lock)
        raise LedgerError(
            f"{path} is in use by another process (pid {holder}): one ledger serves one process. "
            "Stop that one, or give this one a database of its own."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode("ascii"), 0)
    return lock


def _refuse_foreign(connection: apsw.Connection, path: Path) -> None:
    found = connection.pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if found != APPLICATION_ID and tables:
        raise LedgerError(
            f"{path} is an SQLite database, but not a retainer ledger: give the ledger a path of its own."
        )


def _configure_writer(connection: apsw.Connection) -> None:
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise LedgerError(f"the disk allows no write-ahead log (journal mode stays {mode}): use a local file system.")
    connection.pragma("synchronous", "full")  # each commit waits for the disk
    connection.pragma("fullfsync", "on")  # macOS: past the drive's cache as well
    connection.pragma("foreign_keys", "on")
    connection.pragma("temp_store", "memory")
    connection.pragma("trusted_schema", "off")
    connection.pragma("journal_size_limit", _WAL_LIMIT_BYTES)
    connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)


def require_known_schema(connection: apsw.Connection, path: Path) -> int:
    """Refuse a schema newer than this release's; returns which one the file has."""
    version = int(connection.pragma("user_version"))
    if version > len(_scripts()):
        raise LedgerError(
            f"{path} was written by a newer retainer (schema {version}, this one knows {len(_scripts())}): "
            "upgrade retainer, or restore the backup made before the upgrade."
        )
    return version


def _migrate(connection: apsw.Connection, path: Path) -> None:
    version = require_known_schema(connection, path)
    for number, name in enumerate(_scripts()[version:], start=version + 1):
        with connection:
            connection.execute(_script(name))
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", number)


def require_ledger(connection: apsw.Connection, path: Path) -> None:
    """Refuse a file that is something else."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise LedgerError(f"{path} is not a retainer ledger: look at `database` in the settings")


def check_file(connection: apsw.Connection, path: Path) -> None:
    """Refuse a damaged file."""
    found = connection.execute("PRAGMA quick_check(1)").get
    if found != "ok":
        raise LedgerError(f"{path} is damaged ({found}): restore a backup, and look at the disk before serving again.")


def _scripts() -> list[str]:
    folder = files(__package__).joinpath("sqlite_schema")
    return sorted(item.name for item in folder.iterdir() if item.name[:4].isdigit())


def _script(name: str) -> str:
    return files(__package__).joinpath("sqlite_schema", name).read_text("utf-8")
