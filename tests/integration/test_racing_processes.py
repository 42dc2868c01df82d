"""Two processes of their own race for one session's last units, on both stores (F09).

With 10,000 racers on PostgreSQL, over HTTP and at four processes, `scripts/evidence four-providers` does the same.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import DEPOSIT, open_session
from tests.ledger_racer import race

RACERS, RACERS_ON_POSTGRES, SERVED = 5_000, 1_000, 125


async def racing(books: str, session_id: str, name: str, racers: int = RACERS) -> dict[str, Any]:
    """What came of one process's racers."""
    command = [sys.executable, "-m", "tests.ledger_racer", books, session_id, name, str(racers)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.row("F09", attack="2,000 racers in two processes, on PostgreSQL", twin="125 are served, between them")
async def test_processes_that_race_share_what_there_is(postgres_url: str) -> None:
    ledger = await PostgresLedger.open(postgres_url)
    session_id = await open_session(ledger)
    first, second = await asyncio.gather(
        *(racing(postgres_url, session_id, name, RACERS_ON_POSTGRES) for name in ("a", "b"))
    )
    assert first.get("served", 0) + second.get("served", 0) == SERVED
    assert first["depleted"] + second["depleted"] == 2 * RACERS_ON_POSTGRES - SERVED
    session = await ledger.session(session_id)
    await ledger.aclose()
    assert session is not None
    assert (session.spent, session.reserved, session.sequence) == (DEPOSIT, 0, SERVED)


@pytest.mark.row("F09", attack="10,000 racers in two processes, on SQLite", twin="one process has the file, 125 served")
async def test_processes_that_race_for_a_file_are_one(tmp_path: Path) -> None:
    """The second is refused the file, so that all racers who are let in meet at one writer."""
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path)
    session_id = await open_session(ledger)
    refused = await racing(str(path), session_id, "b")
    assert "in use by another process" in refused["refused"]
    await ledger.aclose()
    assert await race(str(path), session_id, "a", 2 * RACERS) == {"served": SERVED, "depleted": 2 * RACERS - SERVED}
    assert (await racing(str(path), session_id, "c")) == {"depleted": RACERS}
