"""The cheapest that the same disk can do in the same minute: what the figures of the books are held against."""

import os
import statistics
import time
from pathlib import Path
from typing import Final

import apsw

from tools.bench.books import DEPOSIT, PRICE

BATCH: Final = 32
SESSIONS: Final = 64
_DEBITS: Final = 20_000
_SYNCS: Final = 200
_PAGE: Final = 4096


def debits_per_second(path: Path) -> float:
    """Guarded debits of bare SQLite, 32 to a transaction, each transaction synced."""
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    db.execute(
        "CREATE TABLE sessions (id INTEGER PRIMARY KEY, spent INTEGER NOT NULL, deposit INTEGER NOT NULL) STRICT"
    )
    db.executemany("INSERT INTO sessions VALUES (?, 0, ?)", [(number, DEPOSIT) for number in range(SESSIONS)])
    started = time.perf_counter()
    for first in range(0, _DEBITS, BATCH):
        with db:
            for debit in range(first, first + BATCH):
                db.execute(
                    "UPDATE sessions SET spent = spent + ?1 WHERE id = ?2 AND spent + ?1 <= deposit",
                    (PRICE, debit % SESSIONS),
                )
    elapsed = time.perf_counter() - started
    db.close()
    return _DEBITS / elapsed


def sync_seconds(folder: Path) -> float:
    """Median time of one fdatasync after a page was written."""
    path = folder / "sync.bin"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(file, bytes(_SYNCS * _PAGE), 0)
        os.fsync(file)
        taken = []
        for page in range(_SYNCS):
            os.pwrite(file, os.urandom(_PAGE), page * _PAGE)
            started = time.perf_counter()
            os.fdatasync(file)
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)
    finally:
        os.close(file)
        path.unlink()
