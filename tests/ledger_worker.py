"""A process that asks and answers as fast as it can until it is killed.

``python -m tests.ledger_worker DATABASE SESSION PREFIX``; keys start with the prefix.
Each acknowledged request is a line on stdout: a JSON pair of key and receipt.
"""

import asyncio
import itertools
import json
import os
import sys

from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import commit_of, held, reserve

_TASKS = 8


async def work(path: str, session_id: str, name: str) -> None:
    """Never returns."""
    ledger = await SqliteLedger.open(path)
    numbers = itertools.count()

    async def ask_on() -> None:
        for number in numbers:
            key = f"{name}-{number}"
            reservation = held(await reserve(ledger, session_id, key))
            if number % 7 == 0:
                await ledger.release(reservation)
                continue
            end = await ledger.commit(commit_of(reservation, charged=number % 3 != 0, body=b"x" * (number % 5000)))
            assert end.answer is not None
            os.write(sys.stdout.fileno(), json.dumps([key, end.answer.receipt]).encode() + b"\n")

    await asyncio.gather(*(ask_on() for _ in range(_TASKS)))


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
