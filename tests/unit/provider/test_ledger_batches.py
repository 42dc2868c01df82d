"""Debits that are written together in a file: what befalls one is no other's business."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from retainer.protocol.usage import usage_root
from retainer_provider.books.ledger import LedgerUnavailableError
from retainer_provider.books.outcomes import CloseBegin, CommitOutcome, CommitResult, ReleaseOutcome, ReserveOutcome
from retainer_provider.books.records import CommitFacts, Reservation, StoredAnswer
from retainer_provider.books.stores import sqlite_standings
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import DEPOSIT, NOW, PRICE, ask, commit_of, held, open_session, reserve


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    opened = await SqliteLedger.open(path)
    yield opened
    await opened.aclose()


def meddle(path: Path, statement: str, *bindings: object) -> None:
    """Change the file behind the ledger's back."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    connection.execute(statement, bindings)
    connection.close()


async def together(ledger: SqliteLedger, reservations: list[Reservation]) -> list[CommitResult | BaseException]:
    return await asyncio.gather(*(ledger.commit(commit_of(one)) for one in reservations), return_exceptions=True)


async def _settled() -> None:
    """Let what was begun go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def booked_right(ledger: SqliteLedger, session_id: str, requests: int) -> None:
    record, log = await ledger.session(session_id), await ledger.usage(session_id)
    assert record is not None
    assert (record.spent, record.sequence, record.reserved) == (requests * PRICE, requests, 0)
    assert record.usage_root == usage_root(log)
    assert [entry.sequence for entry in log] == [*range(1, requests + 1)]


async def test_one_batch_chains_each_sessions_log_in_order(ledger: SqliteLedger) -> None:
    sessions = [await open_session(ledger, number) for number in range(3)]
    taken = [held(await reserve(ledger, sessions[n % 3], f"{n}")) for n in range(60)]
    for result in await together(ledger, taken):
        assert isinstance(result, CommitResult)
        assert result.outcome is CommitOutcome.COMMITTED
    for session_id in sessions:
        await booked_right(ledger, session_id, 20)


async def test_the_write_itself_refuses_what_the_file_does_not_hold(ledger: SqliteLedger, path: Path) -> None:
    """F10: memory may say what it likes, the balance is guarded by the statement that takes the money."""
    honest, robbed = await open_session(ledger, 1), await open_session(ledger, 2)
    taken = [held(await reserve(ledger, session_id, name)) for name in "ab" for session_id in (honest, robbed)]
    meddle(path, "UPDATE session SET deposit = ? WHERE session_id = ?", PRICE, robbed)
    results = [result for result in await together(ledger, taken) if isinstance(result, CommitResult)]
    committed, lost = CommitOutcome.COMMITTED, CommitOutcome.LOST
    assert [result.outcome for result in results] == [committed, committed, committed, lost]
    await booked_right(ledger, honest, 2)
    await booked_right(ledger, robbed, 1)


async def test_a_log_that_another_hand_continued_is_not_continued_twice(ledger: SqliteLedger, path: Path) -> None:
    session_id = await open_session(ledger)
    await ask(ledger, session_id, "a")
    mine = held(await reserve(ledger, session_id, "b"))
    meddle(path, "UPDATE session SET usage_root = zeroblob(32)")
    [result] = await together(ledger, [mine])
    assert isinstance(result, CommitResult)
    log = await ledger.usage(session_id)
    assert result.usage_hash == usage_root(log[1:]), "it went on from what the file says, read anew"


async def test_a_key_that_is_there_already_undoes_its_own_debit_alone(ledger: SqliteLedger, path: Path) -> None:
    session_id, other = await open_session(ledger, 1), await open_session(ledger, 2)
    taken = [held(await reserve(ledger, one, "a")) for one in (session_id, other)]
    meddle(
        path,
        "INSERT INTO answer (session, key, fingerprint, status, headers, receipt) "
        "SELECT number, 'a', zeroblob(32), 200, '[]', '' FROM session WHERE session_id = ?",
        session_id,
    )
    failed, done = await together(ledger, taken)
    assert isinstance(failed, apsw.ConstraintError)
    assert isinstance(done, CommitResult)
    await booked_right(ledger, other, 1)
    assert await ledger.release(taken[0]) is ReleaseOutcome.RELEASED
    await booked_right(ledger, session_id, 0)


async def test_an_answer_that_cannot_be_made_undoes_its_own_debit_alone(ledger: SqliteLedger) -> None:
    def fail(_facts: CommitFacts) -> StoredAnswer:
        raise ValueError("no receipt")

    session_id = await open_session(ledger)
    taken = [held(await reserve(ledger, session_id, name)) for name in "abc"]
    ends = [commit_of(one) for one in taken]
    ends[1] = replace(ends[1], finish=fail)
    first, failed, last = await asyncio.gather(*(ledger.commit(end) for end in ends), return_exceptions=True)
    assert isinstance(failed, ValueError)
    assert isinstance(first, CommitResult)
    assert isinstance(last, CommitResult)
    assert (first.sequence, last.sequence) == (1, 2)
    await ledger.release(taken[1])
    await booked_right(ledger, session_id, 2)


async def test_nothing_is_reserved_from_the_moment_a_close_is_asked_for(ledger: SqliteLedger) -> None:
    """F16: the close waits for its sync; who asks meanwhile is told how it ended."""
    session_id = await open_session(ledger)
    close = asyncio.create_task(ledger.begin_close(session_id, "asked", NOW))
    await asyncio.sleep(0)
    late = await asyncio.gather(*(reserve(ledger, session_id, name) for name in "abc"))
    assert [result.outcome for result in late] == [ReserveOutcome.CLOSING] * 3
    assert await close is CloseBegin.STARTED


async def test_a_top_up_counts_for_who_asked_while_it_was_written(ledger: SqliteLedger) -> None:
    session_id = await open_session(ledger)
    top_up = asyncio.create_task(ledger.update_deposit(session_id, 2 * DEPOSIT, NOW))
    await asyncio.sleep(0)
    assert (await reserve(ledger, session_id, "a", amount=2 * DEPOSIT)).outcome is ReserveOutcome.RESERVED
    await top_up


@pytest.mark.parametrize("first", ["debit", "top-up"])
async def test_a_top_up_in_one_batch_with_debits_leaves_the_figures_of_both(ledger: SqliteLedger, first: str) -> None:
    session_id, other = await open_session(ledger, 1), await open_session(ledger, 2)
    taken = [held(await reserve(ledger, session_id, name)) for name in "ab"]
    gathered = threading.Event()
    slow = commit_of(held(await reserve(ledger, other, "slow")))

    def finish(facts: CommitFacts) -> StoredAnswer:
        gathered.wait()
        return slow.finish(facts)

    ahead = asyncio.create_task(ledger.commit(replace(slow, finish=finish, quick=False)))
    await _settled()
    debits: Callable[[], Awaitable[object]] = partial(together, ledger, taken)
    top_up: Callable[[], Awaitable[object]] = partial(ledger.update_deposit, session_id, 2 * DEPOSIT, NOW)
    later: list[asyncio.Future[object]] = []
    for change in (debits, top_up) if first == "debit" else (top_up, debits):
        later.append(asyncio.ensure_future(change()))
        await _settled()
    gathered.set()
    await asyncio.gather(ahead, *later)
    await booked_right(ledger, session_id, 2)
    left = 2 * DEPOSIT - 2 * PRICE
    assert (await reserve(ledger, session_id, "more", amount=left + 1)).outcome is ReserveOutcome.DEPLETED
    assert (await reserve(ledger, session_id, "all", amount=left)).outcome is ReserveOutcome.RESERVED


async def test_the_loop_writes_small_rows_alone(ledger: SqliteLedger) -> None:
    """F21: what may take long, or asks a key elsewhere, is the ledger's own thread's, while others are served."""
    session_id = await open_session(ledger)
    threads: list[str] = []

    async def book(name: str, body: bytes, *, quick: bool) -> None:
        end = commit_of(held(await reserve(ledger, session_id, name)), body=body)

        def finish(facts: CommitFacts) -> StoredAnswer:
            threads.append(threading.current_thread().name)
            return end.finish(facts)

        assert (await ledger.commit(replace(end, finish=finish, quick=quick))).outcome is CommitOutcome.COMMITTED

    await book("small", b"x", quick=True)
    await book("large", bytes(300_000), quick=True)
    await book("signed elsewhere", b"x", quick=False)
    assert threads == [threading.current_thread().name, "retainer-ledger", "retainer-ledger"]
    await booked_right(ledger, session_id, 3)


async def test_rows_that_the_loop_cannot_write_stop_the_ledger(ledger: SqliteLedger, path: Path) -> None:
    """F23: as if the disk had failed, since nobody knows what is there."""
    session_id = await open_session(ledger)
    taken = [held(await reserve(ledger, session_id, name)) for name in "ab"]
    meddle(path, "ALTER TABLE usage RENAME TO gone")
    assert all(isinstance(result, LedgerUnavailableError) for result in await together(ledger, taken))
    assert ledger.failure is not None
    with pytest.raises(LedgerUnavailableError):
        await reserve(ledger, session_id, "c")


async def test_giving_back_what_is_being_booked_waits_for_its_end(ledger: SqliteLedger) -> None:
    session_id = await open_session(ledger)
    taken = held(await reserve(ledger, session_id, "a"))
    end, released, again = await asyncio.gather(
        ledger.commit(commit_of(taken)), ledger.release(taken), ledger.commit(commit_of(taken))
    )
    assert (end.outcome, released, again.outcome) == (
        CommitOutcome.COMMITTED,
        ReleaseOutcome.GONE,
        CommitOutcome.LOST,
    )
    await booked_right(ledger, session_id, 1)


async def test_sessions_that_memory_has_no_room_for_are_read_again(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_standings, "_MOST_IN_MEMORY", 2)
    sessions = [await open_session(ledger, number) for number in range(5)]
    running = [held(await reserve(ledger, session_id, "running")) for session_id in sessions[:3]]
    for round_ in range(3):
        for session_id in sessions:
            await ask(ledger, session_id, f"{round_}")
    for result in await together(ledger, running):
        assert isinstance(result, CommitResult)
    for number, session_id in enumerate(sessions):
        await booked_right(ledger, session_id, 4 if number < 3 else 3)
        assert (await reserve(ledger, session_id, "0")).outcome is ReserveOutcome.REPLAY
