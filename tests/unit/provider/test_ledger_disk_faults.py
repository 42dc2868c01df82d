"""F23: a fault at every write and every sync of a session's life, one after the other."""

from collections.abc import Awaitable, Iterator
from pathlib import Path

import apsw
import pytest

from retainer_provider.books.ledger import LedgerUnavailableError
from retainer_provider.books.outcomes import ReserveOutcome
from retainer_provider.books.records import SettlementPlan
from retainer_provider.books.stores import sqlite_file
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import NOW, SIGNATURE, commit_of, held, open_session, reserve
from tests.disks import FaultyDisk

REQUESTS = 3
# More than all the writes of one life; each run must end by itself before.
MOST_WRITES = 2000


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    faulty = FaultyDisk()
    yield faulty
    faulty.remove()


async def live(ledger: SqliteLedger, session_id: str, acknowledged: list[str]) -> None:
    """Requests, then the way out, as far as the disk lets it go; ``acknowledged`` is what was answered."""
    for number in range(REQUESTS):
        await ledger.commit(commit_of(held(await reserve(ledger, session_id, f"{number}")), body=b"x" * 3000))
        acknowledged.append(f"{number}")
    await ledger.begin_close(session_id, "asked", NOW)
    record = await ledger.session(session_id)
    assert record is not None
    plan = SettlementPlan(record.spent, record.units_charged, record.remaining, record.usage_root, record.opened_at)
    await ledger.plan_settlement(session_id, plan, NOW)
    await ledger.store_signed(session_id, b"transaction", SIGNATURE, 1)
    acknowledged.append("signed")


async def refused(call: Awaitable[object]) -> bool:
    try:
        await call
    except LedgerUnavailableError:
        return True
    return False


@pytest.mark.parametrize("fault", ["write", "full", "read-only", "sync"])
@pytest.mark.row(
    "F23",
    attack="an error, no space, a remount or a failed sync at each write or sync of a session's life",
    twin="no more money is taken, and a restart finds all that was acknowledged",
)
async def test_a_fault_at_any_write_stops_the_ledger_and_loses_nothing_acknowledged(
    disk: FaultyDisk, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The log is folded into the file all the time, so that those writes fail as well.
    monkeypatch.setattr(sqlite_file, "_CHECKPOINT_PAGES", 4)
    stopped = 0
    for spares in range(MOST_WRITES):
        folder = tmp_path / f"{spares}"
        folder.mkdir()
        ledger = await SqliteLedger.open(folder / "ledger.db")
        session_id = await open_session(ledger)
        acknowledged: list[str] = []
        disk.fault, disk.spares = fault, spares
        failed = await refused(live(ledger, session_id, acknowledged))
        if failed:
            stopped += 1
            assert ledger.failure is not None
            assert await refused(reserve(ledger, session_id, "one more"))
        disk.fault = None
        await ledger.aclose()
        await require_acknowledged(folder / "ledger.db", session_id, acknowledged)
        if not failed:
            break
    assert stopped > REQUESTS
    assert acknowledged[-1] == "signed", "the last life had no fault"


async def require_acknowledged(path: Path, session_id: str, acknowledged: list[str]) -> None:
    """The file opens clean, and holds what was answered."""
    ledger = await SqliteLedger.open(path)
    session, log = await ledger.session(session_id), await ledger.usage(session_id)
    assert session is not None
    assert sum(entry.amount for entry in log) == session.spent
    for name in acknowledged:
        if name == "signed":
            kept = await ledger.settlement(session_id)
            assert kept is not None
            assert kept.raw == b"transaction"
        else:
            assert (await reserve(ledger, session_id, name)).outcome is ReserveOutcome.REPLAY
    await ledger.aclose()
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
