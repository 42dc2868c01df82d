"""What is SQLite's own: which files are opened, and what happens when the disk fails."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from retainer_provider.books.ledger import LedgerError, LedgerUnavailableError
from retainer_provider.books.outcomes import CommitOutcome, ReserveOutcome
from retainer_provider.books.records import CommitFacts, Custody, StoredAnswer
from retainer_provider.books.stores import sqlite_file
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import DEPOSIT, PRICE, answer_of, ask, commit_of, held, new_session, open_session, reserve
from tests.disks import FaultyDisk


async def written(path: Path) -> str:
    """A ledger with one answered request; returns the session's id."""
    ledger = await SqliteLedger.open(path)
    session_id = await open_session(ledger)
    await ask(ledger, session_id, "a")
    await ledger.aclose()
    return session_id


@pytest.mark.row("F24", attack="two processes open one file", twin="the first is served")
async def test_one_file_serves_one_process(tmp_path: Path) -> None:
    """F24."""
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path)
    script = (
        "import sys; from pathlib import Path; from retainer_provider.books.stores.sqlite_file import open_database\n"
        "try: open_database(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    other = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert other.stdout.startswith("LedgerError")
    assert f"in use by another process (pid {os.getpid()})" in other.stdout
    with pytest.raises(LedgerError, match="in use by another process"):
        await SqliteLedger.open(path)
    await ledger.aclose()
    await (await SqliteLedger.open(path)).aclose()


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    await open_session(ledger)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"), 0o600)
    await ledger.aclose()
    await ledger.aclose()


@pytest.mark.row("F24", attack="a file of a newer version", twin="an older one is carried over")
async def test_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await written(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(LedgerError, match=r"newer retainer \(schema 999, this one knows 8\).*upgrade"):
        await SqliteLedger.open(path)


@pytest.mark.row("F24", attack="a file of the first version", twin="carried over")
async def test_books_of_the_first_schema_are_carried_over(tmp_path: Path) -> None:
    """Vouchers came second, custody third, people fourth, cards fifth, streams sixth: what there was is kept."""
    path = tmp_path / "ledger.db"
    session_id = await written(path)
    connection = apsw.Connection(str(path))
    connection.execute("DROP INDEX session_left_behind")
    connection.execute("DROP INDEX session_payer")
    for table in ("transfer", "invoice", "access_token", "free_ask", "activity", "activity_count", "node", "responder"):
        connection.execute(f"DROP TABLE {table}")
    for table in ("card_runtime", "card_turn", "card_line", "card", "stream"):
        connection.execute(f"DROP TABLE {table}")
    for column in ("custody", "account_left", "voucher", "accepted"):
        connection.execute(f"ALTER TABLE session DROP COLUMN {column}")
    connection.pragma("user_version", 1)
    connection.close()
    ledger = await SqliteLedger.open(path)
    record = await ledger.session(session_id)
    assert record is not None
    assert (record.deposit, record.accepted, record.voucher) == (DEPOSIT, 0, None)
    assert record.custody is Custody.ESCROW
    await ask(ledger, session_id, "after")
    await ledger.aclose()


async def test_a_state_that_is_none_is_neither_written_nor_served(tmp_path: Path) -> None:
    """The rule survived the change of its text (schema 8), and each start looks for rows that were written past it."""
    path = tmp_path / "ledger.db"
    await written(path)
    connection = apsw.Connection(str(path))
    rules = str(connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'session'").get)
    assert "state = 'pending' OR state = 'abandoned' OR" in rules
    assert "state IN" not in rules
    with pytest.raises(apsw.ConstraintError, match="CHECK"):
        connection.execute("UPDATE session SET state = 'paid'")
    connection.pragma("ignore_check_constraints", "on")
    connection.execute("UPDATE session SET state = 'paid'")
    connection.close()
    with pytest.raises(LedgerError, match=r"damaged \(CHECK constraint failed in session\)"):
        await SqliteLedger.open(path)


async def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a retainer ledger"):
        await SqliteLedger.open(path)
    assert path.read_bytes() == before


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await written(path)
    pristine = path.read_bytes()
    for position in range(4096, len(pristine), 4096):
        path.write_bytes(pristine[:position] + b"\xff" * 64 + pristine[position + 64 :])
        with pytest.raises(LedgerError, match=r"damaged|could not be opened"):
            await SqliteLedger.open(path)
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LedgerError, match="could not be opened"):
        await SqliteLedger.open(path)
    path.write_bytes(pristine)
    await (await SqliteLedger.open(path)).aclose()


async def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"could not be created: No such file or directory\. Check the directory"):
        await SqliteLedger.open(tmp_path / "missing" / "ledger.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(LedgerError, match="could not be created: Is a directory"):
        await SqliteLedger.open(tmp_path / "folder")


@pytest.mark.parametrize(("version", "fits"), [("3.51.2", False), ("3.9.9", False), ("3.51.3", True), ("4.0", True)])
def test_an_sqlite_that_loses_data_is_refused(version: str, fits: bool) -> None:  # noqa: FBT001 - a table of cases
    if fits:
        sqlite_file.require_sqlite(version)
    else:
        with pytest.raises(LedgerError, match=r"install an apsw with 3\.51\.3 or newer"):
            sqlite_file.require_sqlite(version)


async def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    session_id = await open_session(ledger)
    assert ledger.failure is None
    await ledger.aclose()
    for call in (ledger.session(session_id), ledger.admit(new_session(1)), reserve(ledger, session_id, "a")):
        with pytest.raises(LedgerUnavailableError, match="is closed"):
            await call


async def test_what_was_queued_at_the_end_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path)
    session_id = await open_session(ledger)
    reservations = [held(await reserve(ledger, session_id, f"{n}")) for n in range(20)]
    ends = [asyncio.create_task(ledger.commit(commit_of(reservation))) for reservation in reservations]
    await asyncio.sleep(0)
    await ledger.aclose()
    await asyncio.gather(*ends)
    ledger = await SqliteLedger.open(path)
    session = await ledger.session(session_id)
    await ledger.aclose()
    assert session is not None
    assert session.spent == 20 * PRICE


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    faulty = FaultyDisk()
    yield faulty
    faulty.remove()


@pytest.mark.parametrize("fault", ["sync", "write", "full"])
@pytest.mark.row("F23", attack="writes and syncs that fail", twin="a restart finds what was acknowledged")
async def test_a_failing_disk_turns_the_ledger_off_and_loses_nothing_acknowledged(
    disk: FaultyDisk, tmp_path: Path, fault: str
) -> None:
    """F23: no answer of a failed write leaves, no later write is tried, and a restart finds what was acknowledged."""
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path)
    session_id = await open_session(ledger)
    for name in ("a", "b"):
        await ask(ledger, session_id, name)
    reservations = [held(await reserve(ledger, session_id, f"{n}")) for n in range(3)]
    draining = asyncio.create_task(ledger.drained(session_id))
    await asyncio.sleep(0)
    disk.fault = fault
    ends = await asyncio.gather(*(ledger.commit(commit_of(one)) for one in reservations), return_exceptions=True)
    assert [type(end) for end in ends] == [LedgerUnavailableError] * 3
    disk.fault = None
    assert ledger.failure is not None
    assert "turned itself off" in ledger.failure
    assert "look at the disk, then restart" in ledger.failure
    with pytest.raises(LedgerUnavailableError, match="turned itself off"):
        await draining
    for call in (reserve(ledger, session_id, "c"), ledger.admit(new_session(1))):
        with pytest.raises(LedgerUnavailableError, match="turned itself off"):
            await call
    await ledger.aclose()
    ledger = await SqliteLedger.open(path)
    session = await ledger.session(session_id)
    assert session is not None
    log = await ledger.usage(session_id)
    assert sum(entry.amount for entry in log) == session.spent >= 2 * PRICE
    outcomes = [(await reserve(ledger, session_id, name)).outcome for name in ("a", "b")]
    assert outcomes == [ReserveOutcome.REPLAY] * 2
    await ledger.aclose()


@pytest.mark.row("F23", attack="a sync that failed once", twin="no later write is tried")
async def test_a_disk_that_failed_once_is_never_trusted_again(disk: FaultyDisk, tmp_path: Path) -> None:
    """F23: what queued up behind the failed sync is not even tried, though the disk would take it."""
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path)
    session_id = await open_session(ledger)
    writing, go_on = threading.Event(), threading.Event()

    def wait(facts: CommitFacts) -> StoredAnswer:
        writing.set()
        go_on.wait()
        disk.fault = "sync once"
        return answer_of(facts)

    first = asyncio.create_task(
        ledger.commit(replace(commit_of(held(await reserve(ledger, session_id, "a"))), finish=wait, quick=False))
    )
    await asyncio.to_thread(writing.wait)
    second = asyncio.create_task(ledger.admit(new_session(1)))
    await asyncio.sleep(0)
    go_on.set()
    for ended in await asyncio.gather(first, second, return_exceptions=True):
        assert isinstance(ended, LedgerUnavailableError)
    assert disk.fault is None
    await ledger.aclose()
    ledger = await SqliteLedger.open(path)
    assert await ledger.session(new_session(1).session_id) is None
    await ledger.aclose()


async def test_requests_share_their_syncs_and_reserving_needs_none(disk: FaultyDisk, tmp_path: Path) -> None:
    """Group commit: while one sync runs, what comes in waits for the next together."""
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    session_id = await open_session(ledger)
    before = disk.syncs
    reservations = [
        held(one) for one in await asyncio.gather(*(reserve(ledger, session_id, f"{n}") for n in range(125)))
    ]
    await ledger.release(reservations.pop())
    assert disk.syncs == before
    for result in await asyncio.gather(*(ledger.commit(commit_of(one)) for one in reservations)):
        assert result.outcome is CommitOutcome.COMMITTED
    assert 1 <= disk.syncs - before < 40
    before = disk.syncs
    await ask(ledger, session_id, "alone")
    assert disk.syncs == before + 1, "one durable write per request"
    await ledger.aclose()
