"""Debits of many sessions in one PostgreSQL transaction: none holds up, fails or outlives the others' guards."""

import asyncio

import psycopg
import pytest
from msgspec.structs import replace

from retainer.protocol.usage import usage_root
from retainer_provider.books.ledger import LedgerInterruptedError
from retainer_provider.books.outcomes import CommitOutcome, ReserveOutcome
from retainer_provider.books.records import CommitFacts, StoredAnswer
from retainer_provider.books.steps import one
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.postgres_pool import UndoneError
from tests.books import DEPOSIT, PRICE, ask, commit_of, held, open_session, reserve
from tests.postgres import Process, execute


async def test_a_session_that_somebody_holds_delays_no_other(process: Process, postgres_url: str) -> None:
    """Requests of all sessions share transactions: a row that another process does not let go of must not stop them."""
    ledger = await process()
    stuck, free = await open_session(ledger, 1), await open_session(ledger, 2)
    with psycopg.connect(postgres_url) as holder:
        holder.execute("SELECT FROM session WHERE session_id = %s FOR UPDATE", (stuck,))
        waiting = [asyncio.create_task(ask(ledger, stuck, f"{number}")) for number in range(5)]
        done = await asyncio.gather(*(ask(ledger, free, f"{number}") for number in range(20)))
        assert [end.outcome for end in done] == [CommitOutcome.COMMITTED] * 20
        assert not any(task.done() for task in waiting)
        holder.rollback()
    assert [end.outcome for end in await asyncio.gather(*waiting)] == [CommitOutcome.COMMITTED] * 5
    session = await ledger.session(stuck)
    assert session is not None
    assert (session.spent, session.sequence) == (5 * PRICE, 5)


async def test_what_fails_for_one_debit_of_a_group_fails_for_it_alone(process: Process) -> None:
    """An answer that cannot be made, and a key that the database refuses: neither concerns who came with them."""
    ledger = await process()
    session_id, other = await open_session(ledger, 1), await open_session(ledger, 2)
    held_by = [held(await reserve(ledger, session_id, f"{number}")) for number in range(4)]

    def fail(facts: CommitFacts) -> StoredAnswer:
        raise ValueError(f"no receipt for {facts.entry.sequence}")

    ends = [commit_of(reservation) for reservation in held_by]
    ends[1] = replace(ends[1], finish=fail)
    beside = [reserve(ledger, other, name) for name in ("a", "not\0text", "b")]
    ended = await asyncio.gather(*(ledger.commit(end) for end in ends), *beside, return_exceptions=True)
    failed = {place: type(found) for place, found in enumerate(ended) if isinstance(found, Exception)}
    assert failed == {1: ValueError, 5: UndoneError}
    log = await ledger.usage(session_id)
    session, rest = await ledger.session(session_id), await ledger.session(other)
    assert session is not None
    assert rest is not None
    assert [entry.sequence for entry in log] == [1, 2, 3]
    assert usage_root(log) == session.usage_root
    assert (session.spent, session.reserved, rest.reserved) == (3 * PRICE, PRICE, 2 * PRICE)
    assert (await ledger.commit(commit_of(held_by[1]))).outcome is CommitOutcome.COMMITTED


async def test_what_another_process_did_since_decides(process: Process) -> None:
    """What is remembered of a session is a guess: money, keys and state are what the books say when it is written."""
    ledger, other = await process(), await process()
    session_id = await open_session(ledger)
    for turn in range(3):
        for asked, name in ((ledger, "mine"), (other, "theirs")):
            for number in range(2):
                assert (await ask(asked, session_id, f"{name}-{turn}-{number}")).outcome is CommitOutcome.COMMITTED
    log = await ledger.usage(session_id)
    session = await other.session(session_id)
    assert session is not None
    assert [entry.cumulative for entry in log] == [PRICE * (place + 1) for place in range(12)]
    assert (session.spent, session.usage_root) == (12 * PRICE, usage_root(log))

    running = held(await reserve(other, session_id, "running"))
    assert (await reserve(ledger, session_id, "running")).outcome is ReserveOutcome.IN_FLIGHT
    answered = await other.commit(commit_of(running))
    again = await reserve(ledger, session_id, "running")
    assert (again.outcome, again.answer) == (ReserveOutcome.REPLAY, answered.answer)
    mine = held(await reserve(ledger, session_id, "last"))
    rest = held(await reserve(other, session_id, "rest", amount=DEPOSIT - 14 * PRICE))
    assert (await reserve(ledger, session_id, "more")).outcome is ReserveOutcome.DEPLETED
    assert (await other.commit(commit_of(rest))).outcome is CommitOutcome.COMMITTED
    assert (await ledger.commit(commit_of(mine))).outcome is CommitOutcome.COMMITTED
    assert (await reserve(ledger, session_id, "more")).outcome is ReserveOutcome.DEPLETED
    session = await other.session(session_id)
    assert session is not None
    assert (session.spent, session.reserved) == (DEPOSIT, 0)


async def test_books_changed_past_their_locks_are_not_written(process: Process, postgres_url: str) -> None:
    """The guard stands in the write, whatever was decided before it."""
    ledger = await process()
    session_id = await open_session(ledger)
    end = commit_of(held(await reserve(ledger, session_id, "a")))

    execute(
        postgres_url,
        "CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER keep_out BEFORE UPDATE ON session FOR EACH ROW EXECUTE FUNCTION keep_out()",
    )
    try:
        with pytest.raises(LedgerInterruptedError, match="changed under its lock"):
            await ledger.commit(end)
    finally:
        execute(postgres_url, "DROP FUNCTION keep_out CASCADE")
    assert await ledger.usage(session_id) == []
    assert (await ledger.commit(end)).outcome is CommitOutcome.COMMITTED


async def test_statements_are_prepared_unless_the_settings_say_no(postgres_url: str) -> None:
    """A pooler in transaction mode gives each transaction another connection, which knows no statement of before."""
    for prepare in (True, False):
        ledger = await PostgresLedger.open(postgres_url, connections=1, prepare=prepare)
        session_id = await open_session(ledger, int(prepare))
        for number in range(3):
            await ask(ledger, session_id, f"{number}")
        (prepared,) = await ledger.look(one("SELECT count(*) FROM pg_prepared_statements")) or ()
        assert bool(prepared) is prepare
        await ledger.aclose()
