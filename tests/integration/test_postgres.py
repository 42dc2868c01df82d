"""What is PostgreSQL's own: processes that share the books, leases that run out, servers that are refused."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import LedgerError, LedgerInterruptedError
from retainer_provider.books.outcomes import (
    AdmitOutcome,
    ClaimOutcome,
    CommitOutcome,
    CreditOutcome,
    ExpectOutcome,
    PlanOutcome,
    RecordOutcome,
    ReleaseOutcome,
    ReserveOutcome,
    SignedOutcome,
)
from retainer_provider.books.records import (
    CommitFacts,
    Custody,
    ExpectedTransfer,
    ReserveRequest,
    SettlementPlan,
    StoredAnswer,
)
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.postgres_database import check_database
from retainer_provider.books.stores.postgres_reader import reading
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import (
    DEPOSIT,
    NOW,
    PRICE,
    SIGNATURE,
    ask,
    commit_of,
    fingerprint,
    held,
    new_session,
    open_session,
    reserve,
)
from tests.postgres import Process, execute
from tools.postgres import postgres


def stall(url: str) -> None:
    """Let the leases of all processes so far run out: what happens when they stall, without the waiting."""
    execute(url, "UPDATE process SET lease_until = '-infinity'")


async def plan_of(ledger: PostgresLedger, session_id: str) -> SettlementPlan:
    session = await ledger.session(session_id)
    assert session is not None
    return SettlementPlan(
        session.spent, session.units_charged, session.remaining, session.usage_root, session.opened_at
    )


async def test_processes_share_sessions_keys_and_answers(process: Process) -> None:
    here, there = await process(), await process()
    session_id = await open_session(here)
    running = held(await reserve(here, session_id, "a"))
    assert (await reserve(there, session_id, "a")).outcome is ReserveOutcome.IN_FLIGHT
    assert (await reserve(there, session_id, "a", text="other")).outcome is ReserveOutcome.CONFLICT
    done = await here.commit(commit_of(running))
    again = await reserve(there, session_id, "a")
    assert (again.outcome, again.answer) == (ReserveOutcome.REPLAY, done.answer)
    assert await there.release(running) is ReleaseOutcome.GONE


@pytest.mark.row(
    "F01",
    attack="one PDA, and one transfer, by 32 connections at two processes of one database, and after a restart",
    twin="one row, credited once",
)
async def test_processes_that_race_for_one_deposit_register_it_once(process: Process) -> None:
    ledgers = [await process(), await process()]
    rivals = [new_session(), new_session(challenge_id="another challenge")]
    held_by_us = [new_session(salt, custody=Custody.PROVIDER) for salt in (1, 2)]
    transfer = ExpectedTransfer(SIGNATURE, DEPOSIT, 1000)
    for new in held_by_us:
        await ledgers[0].admit(new)

    async def deposit(number: int) -> tuple[AdmitOutcome, ExpectOutcome, CreditOutcome]:
        ledger, session_id = ledgers[number % 2], held_by_us[number // 2 % 2].session_id
        admitted = await ledger.admit(rivals[number // 2 % 2])
        expected = await ledger.expect_transfer(session_id, transfer)
        return admitted.outcome, expected, await ledger.credit_transfer(session_id, SIGNATURE, NOW)

    admitted, expected, credited = (
        Counter(outcomes) for outcomes in zip(*await asyncio.gather(*map(deposit, range(32))), strict=True)
    )
    assert (admitted[AdmitOutcome.ADMITTED], admitted[AdmitOutcome.KNOWN_OTHER]) == (1, 16)
    assert (expected[ExpectOutcome.EXPECTED], expected[ExpectOutcome.REPLAYED]) == (1, 16)
    assert credited == {CreditOutcome.CREDITED: 1, CreditOutcome.ALREADY: 15, CreditOutcome.REFUSED: 16}
    restarted = await process()
    assert (await restarted.admit(rivals[0])).outcome is not AdmitOutcome.ADMITTED
    assert sorted(one.deposit for one in await restarted.sessions(states=[SessionState.ACTIVE])) == [DEPOSIT]


@pytest.mark.row("F09", attack="600 racers at three ledgers of one database, balance for 125", twin="125 are served")
async def test_processes_that_race_for_the_last_units_spend_exactly_them(process: Process) -> None:
    """F09, with the racers in several processes."""
    ledgers = [await process() for _ in range(3)]
    session_id = await open_session(ledgers[0])

    async def race(number: int) -> ReserveOutcome:
        ledger = ledgers[number % len(ledgers)]
        result = await reserve(ledger, session_id, f"racer {number}")
        if result.reservation is not None:
            assert (await ledger.commit(commit_of(result.reservation))).outcome is CommitOutcome.COMMITTED
        return result.outcome

    outcomes = Counter(await asyncio.gather(*(race(number) for number in range(600))))
    assert outcomes == {ReserveOutcome.RESERVED: 125, ReserveOutcome.DEPLETED: 475}
    session = await ledgers[1].session(session_id)
    assert session is not None
    assert (session.spent, session.reserved, session.sequence) == (DEPOSIT, 0, 125)


async def test_a_process_that_stalled_past_its_lease_charges_nothing(process: Process, postgres_url: str) -> None:
    stalled = await process()
    session_id = await open_session(stalled)
    running = held(await reserve(stalled, session_id, "a", amount=DEPOSIT))
    stall(postgres_url)
    assert (await stalled.commit(commit_of(running))).outcome is CommitOutcome.LOST
    other = await process()  # which gives back what the stalled one held
    session = await other.session(session_id)
    assert session is not None
    assert (session.spent, session.reserved) == (0, 0)
    retried = held(await reserve(other, session_id, "a", amount=DEPOSIT))
    assert (await stalled.commit(commit_of(running))).outcome is CommitOutcome.LOST
    assert await stalled.release(running) is ReleaseOutcome.GONE
    assert (await other.commit(commit_of(retried))).outcome is CommitOutcome.COMMITTED


async def test_what_a_process_holds_is_its_own_while_it_lives(process: Process) -> None:
    living = await process()
    session_id = await open_session(living)
    running = held(await reserve(living, session_id, "a", amount=DEPOSIT))
    other = await process()
    assert (await reserve(other, session_id, "b")).outcome is ReserveOutcome.DEPLETED
    assert (await living.commit(commit_of(running))).outcome is CommitOutcome.COMMITTED


async def test_a_process_that_ends_gives_back_what_it_held(process: Process) -> None:
    ending, other = await process(), await process()
    session_id = await open_session(other)
    held(await reserve(ending, session_id, "a", amount=DEPOSIT))
    await ending.aclose()
    assert (await reserve(other, session_id, "a", amount=DEPOSIT)).outcome is ReserveOutcome.RESERVED


async def test_draining_waits_for_requests_of_every_process(process: Process) -> None:
    here, there = await process(), await process()
    session_id = await open_session(here)
    running = held(await reserve(there, session_id, "a"))
    await here.begin_close(session_id, "asked", NOW)
    assert await here.plan_settlement(session_id, await plan_of(here, session_id), NOW) is PlanOutcome.IN_FLIGHT
    draining = asyncio.create_task(here.drained(session_id))
    await there.commit(commit_of(running))
    await draining
    assert (await plan_of(here, session_id)).amount == PRICE


@pytest.mark.row("F14", attack="two processes settle one session", twin="one does")
async def test_one_living_process_settles_a_session(process: Process, postgres_url: str) -> None:
    """F14: two signatures for one session cannot both be kept, so they cannot both be sent."""
    here, there = await process(), await process()
    session_id = await open_session(here)
    await ask(here, session_id, "a")
    await here.begin_close(session_id, "asked", NOW)
    claims = await asyncio.gather(here.claim_settlement(session_id), there.claim_settlement(session_id))
    assert Counter(claims) == {ClaimOutcome.CLAIMED: 1, ClaimOutcome.ELSEWHERE: 1}
    mine, other = (here, there) if claims[0] is ClaimOutcome.CLAIMED else (there, here)
    assert await mine.plan_settlement(session_id, await plan_of(mine, session_id), NOW) is PlanOutcome.PLANNED
    assert await other.store_signed(session_id, b"theirs", SIGNATURE, 1) is SignedOutcome.NO_PLAN
    assert await mine.store_signed(session_id, b"mine", SIGNATURE, 1) is SignedOutcome.STORED
    stall(postgres_url)
    assert await mine.store_signed(session_id, b"late", SIGNATURE, 1) is SignedOutcome.NO_PLAN
    heir = await process()
    assert await heir.claim_settlement(session_id) is ClaimOutcome.CLAIMED
    kept = await heir.settlement(session_id)
    assert kept is not None
    assert kept.raw == b"mine", "the heir goes on with what may be on its way"
    recorded = await heir.record_settled(session_id, SIGNATURE, PRICE, DEPOSIT - PRICE, NOW)
    assert recorded is RecordOutcome.RECORDED


@pytest.mark.row(
    "F30", attack="connections that break in the middle of a commit", twin="made anew, no debit lost or doubled"
)
async def test_lost_connections_are_an_unknown_outcome_and_then_made_anew(process: Process, postgres_url: str) -> None:
    ledger = await process()
    session_id = await open_session(ledger)
    reservation = held(await reserve(ledger, session_id, "a"))
    end = commit_of(reservation)

    def cut(facts: CommitFacts) -> StoredAnswer:
        execute(
            postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'retainer'"
        )
        return end.finish(facts)

    with pytest.raises(LedgerInterruptedError, match="look at PostgreSQL"):
        await ledger.commit(replace(end, finish=cut))
    for _ in range(10):  # as many as there are broken connections at most
        try:
            assert (await ledger.commit(end)).outcome is CommitOutcome.COMMITTED
            break
        except LedgerInterruptedError:
            continue
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.sequence) == (PRICE, 1)


async def test_a_process_that_stops_in_a_transaction_does_not_hold_its_session(postgres_url: str) -> None:
    """The server undoes it within a lease; else one stopped process would stop a session for all."""
    stopped = await PostgresLedger.open(postgres_url, lease_seconds=1)
    other = await PostgresLedger.open(postgres_url)
    session_id = await open_session(other)
    running, beside = [held(await reserve(other, session_id, name)) for name in "ab"]
    end = commit_of(running)
    mine = held(await reserve(stopped, session_id, "c"))
    # So that the other one finds the session changed, and decides once more under the row's lock.
    assert (await other.commit(commit_of(beside))).outcome is CommitOutcome.COMMITTED
    calls, locked = iter((False, True)), asyncio.Event()

    def stop(facts: CommitFacts) -> StoredAnswer:
        if next(calls):
            locked.set()
            time.sleep(1.5)  # with the row locked, and the event loop with it
        return end.finish(facts)

    stopping = asyncio.create_task(stopped.commit(replace(commit_of(mine), finish=stop)))
    await locked.wait()
    assert (await other.commit(end)).outcome is CommitOutcome.COMMITTED
    with pytest.raises(LedgerInterruptedError):
        await stopping
    session = await other.session(session_id)
    assert session is not None
    assert (session.spent, session.sequence) == (2 * PRICE, 2)
    await stopped.aclose()
    await other.aclose()


async def test_what_could_not_be_released_is_released_later(process: Process, postgres_url: str) -> None:
    ledger = await process()
    session_id = await open_session(ledger)
    reservation = held(await reserve(ledger, session_id, "a", amount=DEPOSIT))
    execute(postgres_url, "ALTER TABLE reservation RENAME TO away")
    with pytest.raises(LedgerInterruptedError):
        await ledger.release(reservation)
    execute(postgres_url, "ALTER TABLE away RENAME TO reservation")
    await ledger.aclose()  # the last chance to
    other = await process()
    assert (await reserve(other, session_id, "a", amount=DEPOSIT)).outcome is ReserveOutcome.RESERVED


async def test_a_caller_that_leaves_while_it_reserves_holds_nothing(process: Process) -> None:
    ledger = await process()
    session_id = await open_session(ledger)
    request = ReserveRequest(session_id, "a", fingerprint("a"), DEPOSIT, units=1, now=NOW)
    leaving = asyncio.create_task(ledger.reserve(request))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await ledger.aclose()  # which waits for what is still under way
    other = await process()
    session = await other.session(session_id)
    assert session is not None
    assert session.reserved == 0


async def test_processes_that_start_together_make_one_schema(postgres_url: str) -> None:
    execute(postgres_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    ledgers = await asyncio.gather(*(PostgresLedger.open(postgres_url, connections=2) for _ in range(4)))
    session_id = await open_session(ledgers[0])
    assert all([await ledger.session(session_id) for ledger in ledgers])
    for ledger in ledgers:
        await ledger.aclose()


async def test_a_newer_schema_is_refused(process: Process, postgres_url: str) -> None:
    await process()
    execute(postgres_url, "UPDATE retainer_schema SET version_num = version_num || '9'")
    try:
        with pytest.raises(LedgerError, match="written by a newer retainer"):
            await PostgresLedger.open(postgres_url)
    finally:
        execute(postgres_url, "UPDATE retainer_schema SET version_num = left(version_num, -1)")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
@pytest.mark.row("F30", attack="a database that does not sync its commits", twin="a safe one is opened")
async def test_a_server_that_may_forget_is_refused(setting: str) -> None:
    """F30."""
    with postgres(settings=[f"{setting}=off"]) as url, pytest.raises(LedgerError, match=f"{setting} = off"):
        await PostgresLedger.open(url)


async def test_a_sound_server_is_told_as_one(process: Process, postgres_url: str) -> None:
    await process()
    assert "holds the books" in await check_database(postgres_url)


async def test_a_server_that_takes_no_writes_is_refused() -> None:
    with postgres(standby=True) as url, pytest.raises(LedgerError, match="replica"):
        await PostgresLedger.open(url)
    with (
        postgres(settings=["default_transaction_read_only=on"]) as url,
        pytest.raises(LedgerError, match="read-only"),
    ):
        await PostgresLedger.open(url)


async def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(LedgerError, match="could not be used") as refused:
        await PostgresLedger.open("postgresql://someone:hunter2@127.0.0.1:1/books")
    assert "hunter2" not in str(refused.value)


async def test_the_books_are_read_without_taking_part(process: Process, postgres_url: str) -> None:
    ledger = await process()
    session_id = await open_session(ledger)
    async with reading(postgres_url) as books:
        assert [session.session_id for session in await books.sessions()] == [session_id]
        assert await books.session(session_id) == await ledger.session(session_id)
        assert await books.settlement(session_id) is None


@pytest.mark.row("F30", attack="a transaction that PostgreSQL gives up (40001)", twin="made again, charged once")
async def test_a_serialization_failure_is_an_unknown_outcome_that_may_be_repeated(
    process: Process, postgres_url: str
) -> None:
    """F30: whatever isolation a database is set to, nothing of such a transaction is left."""
    ledger = await process()
    session_id = await open_session(ledger)
    end = commit_of(held(await reserve(ledger, session_id, "a")))
    execute(
        postgres_url,
        "CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END $$",
        "CREATE TRIGGER give_up BEFORE INSERT ON usage FOR EACH ROW EXECUTE FUNCTION give_up()",
    )
    try:
        with pytest.raises(LedgerInterruptedError, match="could not serialize"):
            await ledger.commit(end)
        session = await ledger.session(session_id)
        assert session is not None
        assert (session.spent, session.reserved, session.sequence) == (0, PRICE, 0)
    finally:
        execute(postgres_url, "DROP FUNCTION give_up CASCADE")
    assert (await ledger.commit(end)).outcome is CommitOutcome.COMMITTED
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.reserved, session.sequence) == (PRICE, 0, 1)


@pytest.mark.row("F30", attack="the store changed while sessions are open", twin="the old books go on as they were")
async def test_other_books_charge_nothing_to_sessions_they_do_not_know(process: Process, tmp_path: Path) -> None:
    """F30: no debit is lost or doubled, since nothing is sold from the new books before the old ones are settled."""
    old = await SqliteLedger.open(tmp_path / "ledger.db")
    session_id = await open_session(old)
    await ask(old, session_id, "a")
    running = held(await reserve(old, session_id, "b"))
    new = await process()
    for name in ("a", "b", "c"):
        assert (await reserve(new, session_id, name)).outcome is ReserveOutcome.UNKNOWN
    assert (await old.commit(commit_of(running))).outcome is CommitOutcome.COMMITTED
    assert (await reserve(old, session_id, "a")).outcome is ReserveOutcome.REPLAY
    session = await old.session(session_id)
    await old.aclose()
    assert session is not None
    assert (session.spent, session.sequence) == (2 * PRICE, 2)
