"""Which store the settings choose: the file, or a database that processes share. The latter's driver is an extra."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Protocol

from retainer.protocol.session import SessionState
from retainer.protocol.usage import UsageEntry
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import AnswerLimits, SessionRecord, Settlement
from retainer_provider.books.stores import sqlite_reader
from retainer_provider.books.stores.local_disk import require_local
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.settings import Settings, SettingsError


class LedgerReader(Protocol):
    """A read-only view of the books, also while services write them."""

    async def session(self, session_id: str) -> SessionRecord | None:
        """One session as last committed."""
        ...

    async def sessions(
        self, *, states: Collection[SessionState] | None = None, limit: int = 100, after: int = 0
    ) -> Sequence[SessionRecord]:
        """Sessions in order of admission."""
        ...

    async def settlement(self, session_id: str) -> Settlement | None:
        """A session's settlement, live or done."""
        ...

    async def usage(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[UsageEntry]:
        """Entries of the usage hash chain with a sequence above ``after``."""
        ...


async def open_ledger(settings: Settings) -> Ledger:
    """The books that the settings name; LedgerError says what is wrong with them."""
    limits = AnswerLimits(settings.limits.replay_body_bytes, settings.limits.replay_session_bytes)
    chosen = settings.ledger
    if chosen.url is None:
        return await SqliteLedger.open(settings.service.database, limits)
    _require_driver()
    from retainer_provider.books.stores.postgres import PostgresLedger  # noqa: PLC0415 - an extra

    return await PostgresLedger.open(
        chosen.url,
        limits,
        lease_seconds=chosen.lease_seconds,
        connections=chosen.connections,
        prepare=chosen.prepared_statements,
    )


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[LedgerReader]:
    """Read the books that the settings name while the block runs; LedgerError says why not."""
    if settings.ledger.url is None:
        with sqlite_reader.reading(settings.service.database) as file:
            yield file
        return
    _require_driver()
    from retainer_provider.books.stores import postgres_reader  # noqa: PLC0415 - an extra

    async with postgres_reader.reading(settings.ledger.url) as database:
        yield database


async def check_ledger(settings: Settings) -> str:
    """Look whether the books could be opened, changing nothing; a sentence, or LedgerError with what to mend."""
    if settings.ledger.url is None:
        path = settings.service.database
        require_local(path)
        if not path.exists():
            return f"{path} is made at the first start"
        with sqlite_reader.reading(path) as file:
            file.check()
        return f"{path} is a sound ledger"
    _require_driver()
    from retainer_provider.books.stores.postgres_database import check_database  # noqa: PLC0415 - an extra

    return await check_database(settings.ledger.url)


def _require_driver() -> None:
    if find_spec("psycopg") is None or find_spec("alembic") is None:
        raise SettingsError(
            'a ledger on PostgreSQL needs its driver: pip install "retainer[provider,postgres]", or remove `url`'
        )
