"""Every ledger that retainer ships must pass the tests of this directory."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import AnswerLimits
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.sqlite import SqliteLedger

OpenLedger: TypeAlias = Callable[[], Awaitable[Ledger]]

LIMITS = AnswerLimits(answer_bytes=100, session_bytes=250)


@pytest.fixture(params=["sqlite", "postgres"])
async def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenLedger]:
    """Opens the same books each time, closing the one opened before: what a restart does."""
    opened: list[Ledger] = []

    async def open_() -> Ledger:
        if opened:
            await opened.pop().aclose()
        if request.param == "sqlite":
            opened.append(await SqliteLedger.open(tmp_path / "ledger.db", LIMITS))
        else:
            opened.append(await PostgresLedger.open(request.getfixturevalue("postgres_url"), LIMITS))
        return opened[-1]

    yield open_
    for ledger in opened:
        await ledger.aclose()


@pytest.fixture
async def ledger(open_ledger: OpenLedger) -> Ledger:
    return await open_ledger()
