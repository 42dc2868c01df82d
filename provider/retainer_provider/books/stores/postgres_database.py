"""Opening a PostgreSQL database as a ledger: durable settings, one known schema; or a sentence why not."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import AsyncConnection, IsolationLevel
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.postgres_rows import Connection, Row

MINIMUM_SERVER: Final = 140_000
_CONNECT_SECONDS: Final = 10
# A statement is planned once per connection from its second time on: those of a debit cost more to plan than to run.
_PREPARED_FROM: Final = 1
# "RTNR" twice: whoever migrates holds this advisory lock until the schema is as it should be.
_MIGRATING: Final = 0x52544E5252544E52
# A peer that is gone without a word is noticed in half a minute, not in hours.
_KEEPALIVES: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_VERSION_TABLE: Final = "retainer_schema"
_STATE: Final = """
  SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
    current_setting('default_transaction_read_only'), current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('synchronous_commit'), current_setting('zero_damaged_pages', true)"""
_UNSAFE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fsync": "a power cut would lose what was paid",
        "full_page_writes": "a power cut would damage the books",
        "synchronous_commit": "a crash of the server would lose answers that were paid for",
    }
)


async def require_sound(connection: Connection) -> None:
    """Refuse a server that may forget what it acknowledged, or that takes no writes; LedgerError says what to set."""
    cursor = await connection.execute(_STATE)
    row = await cursor.fetchone()
    if row is None:
        raise LedgerError("the database does not tell its settings: is it PostgreSQL?")
    version, standby, read_only, fsync, full_pages, synchronous, zero_damaged = row
    if version < MINIMUM_SERVER:
        raise LedgerError(f"PostgreSQL {version // 10_000} is too old: use {MINIMUM_SERVER // 10_000} or newer.")
    if standby:
        raise LedgerError(
            "the database is a replica, which takes no writes: point `url` at the primary "
            "(with several hosts in it, add target_session_attrs=read-write)."
        )
    if read_only == "on":
        raise LedgerError("the database is read-only for us: set default_transaction_read_only = off for this role.")
    if zero_damaged == "on":
        raise LedgerError("PostgreSQL runs with zero_damaged_pages = on, which deletes books: set it off.")
    given = {"fsync": fsync, "full_page_writes": full_pages, "synchronous_commit": synchronous}
    for name, harm in _UNSAFE.items():
        if given[name] == "off":
            raise LedgerError(f"PostgreSQL runs with {name} = off: {harm}. Set it on for this server or role.")


async def _prepare(connection: Connection) -> None:
    # Every connection, since a failover may put another server behind the same name.
    await require_sound(connection)
    # Each statement must see what was committed while it waited for a row.
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)


def pool_of(url: str, connections: int, *, prepare: bool) -> AsyncConnectionPool[Connection]:
    """A closed pool of so many connections. Without ``prepare`` they keep no state between transactions."""
    settings: dict[str, Any] = {
        "autocommit": True,
        "prepare_threshold": _PREPARED_FROM if prepare else None,
        "application_name": "retainer",
        "connect_timeout": _CONNECT_SECONDS,
        **_KEEPALIVES,
    }
    return AsyncConnectionPool(
        url, kwargs=settings, min_size=1, max_size=connections, open=False, configure=_prepare, name="retainer-ledger"
    )


@asynccontextmanager
async def looking_at(url: str) -> AsyncIterator[Connection]:
    """One connection to a sound server; LedgerError says what is wrong."""
    try:
        connecting = AsyncConnection[Row].connect(
            url, autocommit=True, prepare_threshold=None, connect_timeout=_CONNECT_SECONDS
        )
        async with await connecting as connection:
            await require_sound(connection)
            yield connection
    except psycopg.Error as error:
        raise LedgerError(_unreachable(url, error)) from None


async def require_books(connection: Connection) -> None:
    """Refuse a database that holds no ledger."""
    if not await _has_books(connection):
        raise LedgerError("the database holds no ledger yet: the service makes it at its first start")


async def check_database(url: str) -> str:
    """Look at the server and for the books; a sentence, or LedgerError with what to mend."""
    async with looking_at(url) as connection:
        version = connection.info.server_version // 10_000
        books = "holds the books" if await _has_books(connection) else "gets its tables at the first start"
        return f"PostgreSQL {version} keeps what it acknowledges; its database {connection.info.dbname} {books}"


async def _has_books(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT to_regclass(%s)", (_VERSION_TABLE,))
    return await cursor.fetchone() != (None,)


def migrate(url: str) -> None:
    """Bring the schema to what this release knows, one process at a time; blocks. LedgerError for a newer one."""
    # libpq reads the URL, as it does for the pool.
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url, prepare_threshold=None), poolclass=NullPool
    )
    try:
        # The steps and the note that they were done are one transaction: a crash leaves neither.
        with as_file(files(__package__).joinpath("postgres_schema")) as folder, engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATING})
            scripts = ScriptDirectory(str(folder))
            context = MigrationContext.configure(
                connection,
                opts={
                    "fn": lambda revision, _: scripts._upgrade_revs("head", revision),  # noqa: SLF001 - as its own command does
                    "version_table": _VERSION_TABLE,
                },
            )
            with Operations.context(context):
                context.run_migrations()
    except CommandError as error:
        raise LedgerError(
            f"the database was written by a newer retainer ({error}): upgrade retainer, or restore the backup made "
            "before the upgrade."
        ) from None
    except (psycopg.Error, SQLAlchemyError) as error:
        raise LedgerError(_unreachable(url, error)) from None
    finally:
        engine.dispose()


def _unreachable(url: str, error: Exception) -> str:
    # Never the URL itself, which may hold a password (F27).
    parts = urlsplit(url)
    reason = " ".join(str(error).split())
    return (
        f"the database {parts.path.lstrip('/') or 'of this user'} at {parts.hostname or 'the local socket'} could not "
        f"be used: {reason}. Check `url`, the server, and the role's rights."
    )
