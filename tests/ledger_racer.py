"""A process that sends racers for one session's last units at shared books, and says how many were served.

``python -m tests.ledger_racer BOOKS SESSION PREFIX RACERS``; BOOKS is a file or a libpq URL. On stdout a JSON object:
how many racers ended in which outcome, or why the books could not be opened.
"""

import asyncio
import json
import sys
from collections import Counter

from retainer_provider.books.ledger import Ledger, LedgerError
from retainer_provider.books.outcomes import CommitOutcome
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import commit_of, reserve

_AT_ONCE = 256


async def race(books: str, session_id: str, name: str, racers: int) -> dict[str, int | str]:
    """Send as many at once as books take in; which outcome how many had."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(ledger: Ledger, number: int) -> str:
        async with turns:
            return await ask(ledger, number)

    async def ask(ledger: Ledger, number: int) -> str:
        result = await reserve(ledger, session_id, f"{name}-{number}")
        if result.reservation is None:
            return str(result.outcome)
        committed = await ledger.commit(commit_of(result.reservation))
        return "served" if committed.outcome is CommitOutcome.COMMITTED else str(committed.outcome)

    try:
        ledger = await (PostgresLedger.open(books) if "://" in books else SqliteLedger.open(books))
    except LedgerError as error:
        return {"refused": str(error)}
    try:
        return dict(Counter(await asyncio.gather(*(one(ledger, number) for number in range(racers)))))
    finally:
        await ledger.aclose()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(race(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))))
