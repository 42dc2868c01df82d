"""The test run's own PostgreSQL: started by the first test that asks for it, emptied for each, gone with the run."""

from collections.abc import Iterator

import psycopg
import pytest

from tools.postgres import postgres

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
