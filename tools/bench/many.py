"""Books of a size that no run could fill request by request: rows written in bulk, in the shape of real ones."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import apsw
from solders.pubkey import Pubkey

from retainer.protocol.signing import Signer
from retainer_provider.books.stores.sqlite import SqliteLedger
from tools.bench.books import debit, open_session

# Whatever else there may be of a session: its own row is copied, but for what makes it another one.
_OTHER: Final = frozenset({"number", "session_id", "escrow", "payer", "challenge_id", "deadline"})
_COUNT: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :last) "
_USAGE: Final = """
  INSERT INTO usage SELECT number, i, entry, randomblob(32)
  FROM session CROSS JOIN n JOIN usage ON usage.session = 1 AND usage.sequence = 1 WHERE number > 1 OR i > 1"""
_ANSWERS: Final = """
  INSERT INTO answer (session, key, fingerprint, status, headers, receipt, body)
  SELECT number, 'before-' || i, fingerprint, status, headers, receipt, body
  FROM session CROSS JOIN n JOIN answer ON answer.id = 1 WHERE number > 1 OR i > 1"""


async def bulk_book(path: Path, operator: Signer, *, sessions: int, requests: int, rng: Random) -> list[str]:
    """Write a ledger with so many open sessions, each with a history of so many requests (one at least); their ids.

    All but the first request of the first session were never chained, which costs later ones what chained ones do.
    """
    ledger = await SqliteLedger.open(path)
    try:
        first = await open_session(ledger, operator, 0)
        await debit(ledger, operator, first, 0)
    finally:
        await ledger.aclose()
    others = [str(Pubkey(rng.randbytes(32))) for _ in range(sessions - 1)]
    await asyncio.to_thread(_copy, path, others, requests, rng)
    return [first, *others]


def _copy(path: Path, others: Sequence[str], requests: int, rng: Random) -> None:
    db = apsw.Connection(str(path))
    db.execute("PRAGMA synchronous = OFF")  # nobody's money: a run that is cut off is run again
    columns = [str(column[1]) for column in db.execute("PRAGMA table_info(session)")]
    same = ", ".join(column for column in columns if column not in _OTHER)
    with db:
        db.executemany(
            f"INSERT INTO session (session_id, escrow, payer, challenge_id, {same}) "  # noqa: S608 - our own columns
            f"SELECT ?1, ?2, ?3, 'challenge of ' || ?1, {same} FROM session WHERE number = 1",
            ((one, str(Pubkey(rng.randbytes(32))), str(Pubkey(rng.randbytes(32)))) for one in others),
        )
        db.execute(_COUNT + _USAGE, {"last": requests})
        db.execute(_COUNT + _ANSWERS, {"last": requests})
        db.execute(
            "UPDATE session SET sequence = :last, spent = :last, units_charged = :last, "
            "answer_bytes = answer_bytes * :last",
            {"last": requests},
        )
    db.close()
