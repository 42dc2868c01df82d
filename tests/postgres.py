"""The test run's own PostgreSQL: started by the first test that asks for it, emptied for each, gone with the run."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
import pytest

from retainer_provider.books.stores.postgres import PostgresLedger
from tools.postgres import postgres

Process = Callable[[], Awaitable[PostgresLedger]]

_TABLES = (
    "activity, activity_count, node, responder, card_runtime, card_turn, card_line, card, "
    "transfer, process, session, reservation, usage, answer, settlement, invoice, access_token, free_ask"
)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the run's database."""
    with postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """URL of a database that holds no books, or empty ones."""
    empty(postgres_server)
    return postgres_server


def empty(url: str) -> None:
    """Drop what is in the books."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('session')").fetchone() != (None,):
            connection.execute(f"TRUNCATE {_TABLES} RESTART IDENTITY")


@pytest.fixture
async def process(postgres_url: str) -> AsyncIterator[Process]:
    """Opens the shared books as one more process would."""
    opened: list[PostgresLedger] = []

    async def open_() -> PostgresLedger:
        opened.append(await PostgresLedger.open(postgres_url, connections=4))
        return opened[-1]

    yield open_
    for ledger in opened:
        await ledger.aclose()


def execute(url: str, *statements: str) -> None:
    """Run statements as somebody else, past the ledger."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
