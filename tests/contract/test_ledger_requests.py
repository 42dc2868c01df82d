"""A request's money: reserved under a guard, committed once, replayed as long as it is kept."""

import asyncio
import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import AmountError
from retainer.protocol.usage import usage_root
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import CommitOutcome, ReleaseOutcome, ReserveOutcome, ReserveResult
from retainer_provider.books.records import CommitFacts, Reservation, StoredAnswer
from tests.books import (
    DEPOSIT,
    NOW,
    PRICE,
    SIGNATURE,
    answer_of,
    ask,
    commit_of,
    held,
    new_session,
    open_session,
    reserve,
)

if TYPE_CHECKING:
    from tests.contract.conftest import OpenLedger


@pytest.mark.row("F09", attack="10,000 racers, balance for 125, on both stores", twin="125 are served")
async def test_racing_requests_spend_exactly_what_there_is(ledger: Ledger) -> None:
    """F09: 10,000 racers, balance for 125: 125 served, the others told so, not a unit over."""
    session_id, at_once = await open_session(ledger), asyncio.Semaphore(1_000)

    async def race(number: int) -> ReserveOutcome:
        async with at_once:  # a server that is slower than most must not run out of patience with its own queue
            result = await reserve(ledger, session_id, f"racer {number}")
            if result.reservation is not None:
                assert (await ledger.commit(commit_of(result.reservation))).outcome is CommitOutcome.COMMITTED
            return result.outcome

    outcomes = Counter(await asyncio.gather(*(race(number) for number in range(10_000))))
    assert outcomes == {ReserveOutcome.RESERVED: 125, ReserveOutcome.DEPLETED: 9_875}
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.reserved, session.sequence) == (DEPOSIT, 0, 125)


@pytest.mark.row("F10", attack="reserving what running requests hold", twin="what is left can be reserved")
async def test_what_running_requests_hold_cannot_be_held_again(ledger: Ledger) -> None:
    """F10: reserved and spent together never exceed the deposit, and sessions do not share."""
    session_id, other = await open_session(ledger, 1), await open_session(ledger, 2)
    first = await reserve(ledger, session_id, "a", amount=DEPOSIT - 1)
    assert first.session is not None
    assert first.session.reserved == DEPOSIT - 1
    refused = await reserve(ledger, session_id, "b", amount=2)
    assert refused.outcome is ReserveOutcome.DEPLETED
    assert refused.session is not None
    assert refused.session.reserved == DEPOSIT - 1
    assert (await reserve(ledger, session_id, "c", amount=1)).outcome is ReserveOutcome.RESERVED
    assert (await reserve(ledger, other, "a", amount=DEPOSIT)).outcome is ReserveOutcome.RESERVED
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.reserved, session.spent) == (DEPOSIT, 0)
    await ledger.release(held(first))
    assert (await reserve(ledger, session_id, "d", amount=DEPOSIT - 1)).outcome is ReserveOutcome.RESERVED


async def test_a_request_dearer_than_the_deposit_is_not_let_in(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    assert (await reserve(ledger, session_id, "a", amount=DEPOSIT + 1)).outcome is ReserveOutcome.DEPLETED
    await ask(ledger, session_id, "b")
    assert (await reserve(ledger, session_id, "a", amount=DEPOSIT)).outcome is ReserveOutcome.DEPLETED
    assert (await reserve(ledger, session_id, "a", amount=DEPOSIT - PRICE)).outcome is ReserveOutcome.RESERVED


@pytest.mark.row("F10", attack="charging more than was reserved", twin="charging less")
async def test_a_request_may_cost_less_than_it_held_but_not_more(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    reservation = held(await reserve(ledger, session_id, "a", amount=10 * PRICE))
    end = commit_of(reservation)
    for amount in (10 * PRICE + 1, -1):
        with pytest.raises(AmountError, match="not reserved"):
            await ledger.commit(replace(end, charge=Charge(charged=True, units=1, amount=BaseUnits(amount))))
    done = await ledger.commit(replace(end, charge=Charge(charged=True, units=3, amount=BaseUnits(3 * PRICE))))
    assert done.session is not None
    assert (done.session.spent, done.session.units_charged, done.session.reserved) == (3 * PRICE, 3, 0)


@pytest.mark.row(
    "F18",
    attack="a request sent again, whatever became of the session, on both stores",
    twin="the stored answer, charged once",
)
async def test_the_same_request_is_answered_from_the_books(open_ledger: "OpenLedger") -> None:
    """F18: same key and request: the stored answer, whatever became of the session, no second charge."""
    ledger = await open_ledger()
    session_id = await open_session(ledger, deposit=PRICE, expires_at=NOW + 100)
    done = await ask(ledger, session_id, "a", body=b"paid for")

    async def replayed(now: int = NOW) -> None:
        again = await reserve(ledger, session_id, "a", now=now)
        assert (again.outcome, again.answer, again.reservation) == (ReserveOutcome.REPLAY, done.answer, None)

    await replayed()  # depleted
    await replayed(now=NOW + 101)  # expired
    await ledger.begin_close(session_id, "asked", NOW)
    await replayed()  # closing
    ledger = await open_ledger()
    await replayed()  # after a restart
    await ledger.record_settled(session_id, SIGNATURE, PRICE, 0, NOW)
    await replayed()  # closed
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.sequence) == (PRICE, 1)


async def test_another_request_under_a_used_key_is_a_conflict(ledger: Ledger) -> None:
    session_id, other = await open_session(ledger, 1), await open_session(ledger, 2)
    running = held(await reserve(ledger, session_id, "a", text="one"))
    assert (await reserve(ledger, session_id, "a", text="one")).outcome is ReserveOutcome.IN_FLIGHT
    assert (await reserve(ledger, session_id, "a", text="two")).outcome is ReserveOutcome.CONFLICT
    await ledger.commit(commit_of(running))
    assert (await reserve(ledger, session_id, "a", text="two")).outcome is ReserveOutcome.CONFLICT
    assert (await reserve(ledger, other, "a", text="two")).outcome is ReserveOutcome.RESERVED, (
        "keys are a session's own"
    )


async def test_twins_of_one_request_run_once(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    twins = await asyncio.gather(*(reserve(ledger, session_id, "a") for _ in range(50)))
    assert Counter(twin.outcome for twin in twins) == {ReserveOutcome.RESERVED: 1, ReserveOutcome.IN_FLIGHT: 49}


@pytest.mark.row("F12", attack="giving a charge back twice", twin="the retry is a first time")
async def test_a_released_key_is_free_again(ledger: Ledger) -> None:
    """F12: giving back is idempotent, and the retry is a first time."""
    session_id = await open_session(ledger)
    reservation = held(await reserve(ledger, session_id, "a", text="one"))
    assert await ledger.release(reservation) is ReleaseOutcome.RELEASED
    assert await ledger.release(reservation) is ReleaseOutcome.GONE
    assert (await reserve(ledger, session_id, "a", text="two")).outcome is ReserveOutcome.RESERVED


async def test_requests_without_a_key_are_each_their_own(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    first, second = [held(await reserve(ledger, session_id, None, text="same")) for _ in range(2)]
    for reservation in (first, second):
        assert (await ledger.commit(commit_of(reservation))).outcome is CommitOutcome.COMMITTED
    assert (await reserve(ledger, session_id, None, text="same")).outcome is ReserveOutcome.RESERVED


async def test_an_ended_reservation_charges_nothing(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    committed = held(await reserve(ledger, session_id, "a"))
    ends = await asyncio.gather(*(ledger.commit(commit_of(committed)) for _ in range(10)))
    assert Counter(end.outcome for end in ends) == {CommitOutcome.COMMITTED: 1, CommitOutcome.LOST: 9}
    released = held(await reserve(ledger, session_id, "b"))
    await ledger.release(released)
    assert (await ledger.commit(commit_of(released))).outcome is CommitOutcome.LOST
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.sequence, session.reserved) == (PRICE, 1, 0)


@pytest.mark.row(
    "F11", attack="the late end of a reservation from before a restart", twin="released, and free to be reserved"
)
async def test_a_restart_releases_and_orphans_what_was_in_flight(open_ledger: "OpenLedger") -> None:
    """F11's rule: a reservation without outcome is released, and its late end must not charge another request."""
    ledger = await open_ledger()
    session_id = await open_session(ledger)
    orphans: list[Reservation] = [held(await reserve(ledger, session_id, f"{n}", amount=100)) for n in range(3)]
    ledger = await open_ledger()
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.reserved, session.spent) == (0, 0)
    reborn = [held(await reserve(ledger, session_id, f"{n}", amount=100)) for n in range(3)]
    for orphan in orphans:
        assert (await ledger.commit(commit_of(orphan))).outcome is CommitOutcome.LOST
    for reservation in reborn:
        assert (await ledger.commit(commit_of(reservation))).outcome is CommitOutcome.COMMITTED


@pytest.mark.row("F32", attack="the payer withdrew while its request ran", twin="its answer does not leave")
async def test_a_session_settled_meanwhile_takes_no_late_charge(ledger: Ledger) -> None:
    """F32: the payer withdrew while a request ran: its answer must not leave."""
    session_id = await open_session(ledger)
    running = held(await reserve(ledger, session_id, "a"))
    await ledger.mark_closing_on_chain(session_id, NOW, NOW)
    await ledger.record_settled(session_id, SIGNATURE, 0, DEPOSIT, NOW)
    assert (await ledger.commit(commit_of(running))).outcome is CommitOutcome.LOST
    await ledger.drained(session_id)
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.refund, session.sequence) == (0, DEPOSIT, 0)


async def test_why_a_request_is_not_let_in(ledger: Ledger) -> None:
    assert (await reserve(ledger, "unheard of", "a")).outcome is ReserveOutcome.UNKNOWN
    pending = new_session(1)
    await ledger.admit(pending)
    assert (await reserve(ledger, pending.session_id, "a")).outcome is ReserveOutcome.PENDING
    expiring = await open_session(ledger, 2, expires_at=NOW + 1)
    assert (await reserve(ledger, expiring, "a", now=NOW)).outcome is ReserveOutcome.RESERVED
    assert (await reserve(ledger, expiring, "b", now=NOW + 1)).outcome is ReserveOutcome.EXPIRED


async def test_a_request_let_in_before_expiry_is_charged_after_it(ledger: Ledger) -> None:
    session_id = await open_session(ledger, expires_at=NOW + 1)
    running = held(await reserve(ledger, session_id, "a"))
    assert (await ledger.commit(commit_of(running, now=NOW + 5))).outcome is CommitOutcome.COMMITTED


@pytest.mark.row("F31", attack="breaches farmed for free answers, on both stores", twin="capped, then refused")
async def test_free_answers_are_counted_and_capped(ledger: Ledger) -> None:
    """F31: breaches cannot be farmed."""
    session_id = await open_session(ledger, max_free_answers=2)
    for name in ("a", "b"):
        done = await ask(ledger, session_id, name, charged=False)
        assert done.session is not None
        assert done.session.spent == 0
    refused = await reserve(ledger, session_id, "c")
    assert refused.outcome is ReserveOutcome.FREE_EXHAUSTED
    assert refused.session is not None
    assert (refused.session.free_answers, refused.session.sequence) == (2, 2)
    assert (await reserve(ledger, session_id, "a")).outcome is ReserveOutcome.REPLAY


@pytest.mark.row("F31", attack="breaches farmed by requests that run at once", twin="capped in the write")
async def test_free_answers_are_capped_among_requests_that_run_at_once(ledger: Ledger) -> None:
    """F31: let in together, they are not all free; what is charged is not concerned."""
    session_id = await open_session(ledger, max_free_answers=1)
    first, second, third = [held(await reserve(ledger, session_id, name)) for name in "abc"]
    assert (await ledger.commit(commit_of(first, charged=False))).outcome is CommitOutcome.COMMITTED
    refused = await ledger.commit(commit_of(second, charged=False))
    assert refused.outcome is CommitOutcome.FREE_EXHAUSTED
    assert refused.session is not None
    assert (refused.session.free_answers, refused.session.sequence, refused.answer) == (1, 1, None)
    assert (await ledger.commit(commit_of(third))).outcome is CommitOutcome.COMMITTED
    record = await ledger.session(session_id)
    assert record is not None
    assert (record.reserved, record.spent, record.free_answers) == (0, PRICE, 1)
    assert len(await ledger.usage(session_id)) == 2


async def test_where_nothing_is_free_a_breach_is_withheld_and_the_rest_is_served(ledger: Ledger) -> None:
    session_id = await open_session(ledger, max_free_answers=0)
    assert (await ask(ledger, session_id, "a", charged=False)).outcome is CommitOutcome.FREE_EXHAUSTED
    assert (await ask(ledger, session_id, "b")).outcome is CommitOutcome.COMMITTED


async def test_an_answer_that_cannot_be_made_costs_nothing(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    reservation = held(await reserve(ledger, session_id, "a"))

    def fail(facts: CommitFacts) -> StoredAnswer:
        raise ValueError(f"no receipt for {facts.entry.sequence}")

    with pytest.raises(ValueError, match="no receipt for 1"):
        await ledger.commit(replace(commit_of(reservation), finish=fail))
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.sequence, session.reserved) == (0, 0, PRICE)
    assert await ledger.usage(session_id) == []
    assert (await ledger.commit(commit_of(reservation))).outcome is CommitOutcome.COMMITTED


async def test_bodies_over_the_caps_leave_the_receipt_to_replay(ledger: Ledger) -> None:
    """100 bytes an answer, 250 a session (conftest)."""
    session_id = await open_session(ledger)
    kept = {}
    for name, length in (("a", 101), ("b", 100), ("c", 100), ("d", 51), ("e", 50)):
        done = await ask(ledger, session_id, name, body=b"x" * length)
        again = await reserve(ledger, session_id, name)
        assert again.answer is not None
        assert done.answer is not None
        assert replace(again.answer, body=None) == replace(done.answer, body=None)
        kept[name] = None if again.answer.body is None else len(again.answer.body)
    assert kept == {"a": None, "b": 100, "c": 100, "d": None, "e": 50}


async def test_answers_are_dropped_a_while_after_close(ledger: Ledger) -> None:
    closed, open_ = await open_session(ledger, 1), await open_session(ledger, 2)
    for session_id in (closed, open_):
        for name in ("a", "b", "c"):
            await ask(ledger, session_id, name)
    await ledger.begin_close(closed, "asked", NOW)
    await ledger.record_settled(closed, SIGNATURE, 3 * PRICE, DEPOSIT - 3 * PRICE, NOW)
    assert await ledger.purge_answers(NOW) == 0
    assert [await ledger.purge_answers(NOW + 1, limit=2) for _ in range(3)] == [2, 1, 0]
    assert (await reserve(ledger, closed, "a")).outcome is ReserveOutcome.CLOSED
    assert (await reserve(ledger, open_, "a")).outcome is ReserveOutcome.REPLAY
    assert len(await ledger.usage(closed)) == 3, "the log outlives the answers"


async def test_the_usage_log_chains_every_request(open_ledger: "OpenLedger") -> None:
    ledger = await open_ledger()
    session_id, other = await open_session(ledger, 1), await open_session(ledger, 2)

    async def one(session: str, number: int) -> bytes:
        return (await ask(ledger, session, f"{number}", charged=bool(number % 3))).usage_hash

    await asyncio.gather(*(one(session, number) for number in range(30) for session in (session_id, other)))
    ledger = await open_ledger()
    log = await ledger.usage(session_id)
    session = await ledger.session(session_id)
    assert session is not None
    assert [entry.sequence for entry in log] == list(range(1, 31))
    assert usage_root(log) == session.usage_root
    assert sum(entry.amount for entry in log) == session.spent == 20 * PRICE
    assert log[-1].cumulative == session.spent
    assert {entry.key_digest for entry in log} == {hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(30)}
    assert await ledger.usage(session_id, after=10, limit=5) == log[10:15]
    assert [entry.term for entry in log if not entry.charged] == ["max_latency_ms"] * 10


async def test_the_receipt_is_made_of_the_final_numbers(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    await ask(ledger, session_id, "a")
    done = await ask(ledger, session_id, "b", body=b"second")
    (first, second) = await ledger.usage(session_id)
    assert done.session is not None
    assert done.answer == answer_of(CommitFacts(done.session, second, done.usage_hash), b"second")
    assert (done.sequence, second.cumulative, first.sequence) == (2, 2 * PRICE, 1)
    assert done.usage_hash == usage_root([first, second])


async def test_a_cancelled_caller_leaves_nothing_held(ledger: Ledger) -> None:
    """A client that goes away between asking and being let in must not lock its own deposit."""
    session_id = await open_session(ledger)
    callers: list[asyncio.Task[ReserveResult]] = [
        asyncio.create_task(reserve(ledger, session_id, f"{n}")) for n in range(20)
    ]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    for end in await asyncio.gather(*callers, return_exceptions=True):
        if isinstance(end, ReserveResult):  # let in before it went: it knows what it holds
            await ledger.release(held(end))
        else:
            assert isinstance(end, asyncio.CancelledError)
    # Behind the cancelled ones in the queue: when it is through, so are they; their releases follow by the loop.
    await reserve(ledger, "unheard of", None)
    await ledger.drained(session_id)
    assert (await reserve(ledger, session_id, "all", amount=DEPOSIT)).outcome is ReserveOutcome.RESERVED


async def test_a_cancelled_commit_is_still_whole(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    reservation = held(await reserve(ledger, session_id, "a"))
    ending = asyncio.create_task(ledger.commit(commit_of(reservation)))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    await ledger.drained(session_id)
    assert (await reserve(ledger, session_id, "a")).outcome is ReserveOutcome.REPLAY
