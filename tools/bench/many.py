"""Books of a size that no run could fill request by request: rows written in bulk, in the shape of real ones."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import apsw
from solders.pubkey import Pubkey

from retainer.protocol.signing import Signer
from retainer_provider.books.stores.sqlite import SqliteLedger
from tools.bench.books import debit, open_session

# Whatever else there may be of a session: its own row is copied, but for what makes it another one.
_OTHER: Final = frozenset({"number", "session_id", "escrow", "salt", "challenge_id", "deadline"})
_COUNT: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :last) "
_USAGE: Final = """
  INSERT INTO usage (session, sequence, entry, hash) SELECT number, i, entry, randomblob(32)
  FROM session CROSS JOIN n JOIN usage ON usage.session = 1 AND usage.sequence = 1 WHERE number > 1 OR i > 1"""
_ANSWERS: Final = """
  INSERT INTO answer (session, key, fingerprint, status, headers, receipt, body)
  SELECT number, 'before-' || i, fingerprint, status, headers, receipt, body
  FROM session CROSS JOIN n JOIN answer ON answer.id = 1 WHERE number > 1 OR i > 1"""


class Copy(NamedTuple):
    """What makes a session another one, as the books write it."""

    session_id: str
    escrow: str
    salt: str


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
    copies = [Copy(one, str(Pubkey(rng.randbytes(32))), str(salt)) for salt, one in enumerate(others, start=1)]
    await asyncio.to_thread(_lengthen, path, copies, requests)
    return [first, *others]


def copy_sessions(path: Path, copies: Iterable[Copy]) -> None:
    """Write sessions that are as the first one of the ledger, without its requests."""
    db = _open(path)
    with db:
        _insert(db, copies)
        db.execute("UPDATE session SET sequence = 0, spent = 0, units_charged = 0, answer_bytes = 0 WHERE number > 1")
    db.close()


def _lengthen(path: Path, copies: Iterable[Copy], requests: int) -> None:
    db = _open(path)
    with db:
        _insert(db, copies)
        db.execute(_COUNT + _USAGE, {"last": requests})
        db.execute(_COUNT + _ANSWERS, {"last": requests})
        db.execute(
            "UPDATE session SET sequence = :last, spent = :last, units_charged = :last, "
            "answer_bytes = answer_bytes * :last",
            {"last": requests},
        )
    db.close()


def _open(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.execute("PRAGMA synchronous = OFF")  # nobody's money: a run that is cut off is run again
    return db


def _insert(db: apsw.Connection, copies: Iterable[Copy]) -> None:
    columns = [str(column[1]) for column in db.execute("PRAGMA table_info(session)")]
    same = ", ".join(column for column in columns if column not in _OTHER)
    db.executemany(
        f"INSERT INTO session (session_id, escrow, salt, challenge_id, {same}) "  # noqa: S608 - our own columns
        f"SELECT ?1, ?2, ?3, 'challenge of ' || ?1, {same} FROM session WHERE number = 1",
        copies,
    )
