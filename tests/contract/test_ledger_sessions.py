"""A session's life in the books: admitted once, credited once, closed once."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from retainer.protocol.errors import AmountError
from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import (
    AbandonOutcome,
    ActivateOutcome,
    AdmitOutcome,
    CloseBegin,
    DepositOutcome,
    ReserveOutcome,
)
from retainer_provider.books.records import NewSession, SessionRecord
from tests.books import (
    DEPOSIT,
    GRACE,
    NOW,
    PRICE,
    SIGNATURE,
    account_of,
    ask,
    commit_of,
    held,
    new_session,
    open_session,
    reserve,
)

if TYPE_CHECKING:
    from tests.contract.conftest import OpenLedger


async def test_an_opening_is_kept_as_told(ledger: Ledger) -> None:
    new = new_session(2**64 - 1, creation_signature=SIGNATURE, sla_json='{"version":"1"}', idle_timeout=60)
    admitted = await ledger.admit(new)
    assert admitted.outcome is AdmitOutcome.ADMITTED
    kept = await ledger.session(new.session_id)
    assert kept == admitted.session
    for name in NewSession.__dataclass_fields__:
        assert getattr(kept, name) == getattr(new, name), name
    assert kept is not None
    assert (kept.state, kept.spent, kept.reserved, kept.usage_root) == (SessionState.PENDING, 0, 0, bytes(32))
    assert await ledger.session("unheard of") is None


@pytest.mark.row(
    "F01",
    attack="32 registrations of one PDA at once, and again after a restart, on both stores",
    twin="the first is admitted",
)
async def test_a_pda_opens_one_session_whatever_races_for_it(open_ledger: "OpenLedger") -> None:
    """F01: 32 connections register one deposit; a restart changes nothing."""
    ledger = await open_ledger()
    new = new_session()
    outcomes = [result.outcome for result in await asyncio.gather(*(ledger.admit(new) for _ in range(32)))]
    assert Counter(outcomes) == {AdmitOutcome.ADMITTED: 1, AdmitOutcome.KNOWN_SAME: 31}
    other = replace(new, challenge_id="another challenge")
    assert (await ledger.admit(other)).outcome is AdmitOutcome.KNOWN_OTHER
    ledger = await open_ledger()
    assert (await ledger.admit(new)).outcome is AdmitOutcome.KNOWN_SAME
    assert (await ledger.admit(other)).outcome is AdmitOutcome.KNOWN_OTHER
    assert len(await ledger.sessions()) == 1


async def test_a_closed_session_is_never_admitted_again(ledger: Ledger) -> None:
    """C48."""
    session_id = await open_session(ledger)
    await ledger.begin_close(session_id, "asked", NOW)
    await ledger.record_settled(session_id, SIGNATURE, 0, DEPOSIT, NOW)
    again = await ledger.admit(new_session(challenge_id="next life"))
    assert again.outcome is AdmitOutcome.KNOWN_OTHER
    assert again.session.state is SessionState.REFUNDED


async def test_a_deposit_is_credited_once_and_as_the_account_states_it(ledger: Ledger) -> None:
    new = new_session()
    await ledger.admit(new)
    account = account_of(new, deposit=DEPOSIT * 3, grace_period=GRACE * 2)
    racers = [ledger.activate(new.session_id, account, SIGNATURE, NOW + 1) for _ in range(20)]
    assert Counter(await asyncio.gather(*racers)) == {
        ActivateOutcome.ACTIVATED: 1,
        ActivateOutcome.ALREADY_ACTIVE: 19,
    }
    session = await ledger.session(new.session_id)
    assert session is not None
    assert (session.deposit, session.spent) == (DEPOSIT * 3, 0)
    assert (session.grace_period, session.opened_at) == (GRACE * 2, NOW)
    assert (session.creation_signature, session.last_activity_at) == (SIGNATURE, NOW + 1)


async def test_an_account_without_terms_leaves_the_offers_price_in_force(ledger: Ledger) -> None:
    new = new_session(expires_at=NOW + 60)
    await ledger.admit(new)
    await ledger.activate(new.session_id, account_of(new, price_per_unit=0, expires_at=0), SIGNATURE, NOW)
    session = await ledger.session(new.session_id)
    assert session is not None
    assert (session.price, session.expires_at) == (PRICE, NOW + 60)


async def test_an_abandoned_opening_stays_abandoned(ledger: Ledger) -> None:
    new = new_session()
    assert await ledger.abandon(new.session_id, "never came", NOW) is AbandonOutcome.NOT_PENDING
    await ledger.admit(new)
    assert await ledger.abandon(new.session_id, "never came", NOW) is AbandonOutcome.ABANDONED
    assert await ledger.abandon(new.session_id, "never came", NOW) is AbandonOutcome.NOT_PENDING
    assert await ledger.activate(new.session_id, account_of(new), None, NOW) is ActivateOutcome.NOT_PENDING
    assert (await ledger.admit(new)).session.state is SessionState.ABANDONED
    assert (await reserve(ledger, new.session_id, "a")).outcome is ReserveOutcome.CLOSED


@pytest.mark.parametrize("amount", [2**63, -1])
async def test_an_amount_beyond_the_books_is_refused_at_the_door(ledger: Ledger, amount: int) -> None:
    with pytest.raises(AmountError, match="beyond the books"):
        new_session(deposit=amount)
    session_id = await open_session(ledger)
    with pytest.raises(AmountError, match="beyond the books"):
        await ledger.update_deposit(session_id, amount, NOW)


async def test_the_largest_amount_is_spent_to_the_last_unit(ledger: Ledger) -> None:
    """C16's edge in the books: sums must not wrap."""
    most = 2**63 - 1
    session_id = await open_session(ledger, deposit=most, price=most)
    result = await ask(ledger, session_id, "all", amount=most)
    assert result.session is not None
    assert (result.session.spent, result.session.remaining) == (most, 0)
    assert (await reserve(ledger, session_id, "more", amount=1)).outcome is ReserveOutcome.DEPLETED


@pytest.mark.row(
    "F02", attack="one top-up reported again and again, in any order, on both stores", twin="credited once"
)
async def test_a_top_up_is_credited_once_and_never_down(ledger: Ledger) -> None:
    """F02: the account's deposit is taken over, whoever reports it how often and in what order."""
    session_id = await open_session(ledger)
    told = [DEPOSIT + 500] * 500 + [DEPOSIT] * 500
    outcomes = await asyncio.gather(*(ledger.update_deposit(session_id, deposit, NOW) for deposit in told))
    assert Counter(outcomes) == {DepositOutcome.APPLIED: 1, DepositOutcome.UNCHANGED: 999}
    session = await ledger.session(session_id)
    assert session is not None
    assert session.deposit == DEPOSIT + 500
    assert await ledger.update_deposit("unheard of", 1, NOW) is DepositOutcome.UNKNOWN
    pending = new_session(1)
    await ledger.admit(pending)
    assert await ledger.update_deposit(pending.session_id, DEPOSIT * 2, NOW) is DepositOutcome.NOT_OPEN


async def test_a_top_up_revives_a_depleted_session(ledger: Ledger) -> None:
    session_id = await open_session(ledger, deposit=PRICE)
    result = await ask(ledger, session_id, "a")
    assert result.session is not None
    assert result.session.state_at(NOW) is SessionState.DEPLETED
    await ledger.update_deposit(session_id, 2 * PRICE, NOW)
    session = await ledger.session(session_id)
    assert session is not None
    assert session.state_at(NOW) is SessionState.ACTIVE
    assert (await reserve(ledger, session_id, "b")).outcome is ReserveOutcome.RESERVED


async def test_closing_starts_once_and_bars_new_requests_only(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    running = held(await reserve(ledger, session_id, "running"))
    outcomes = await asyncio.gather(*(ledger.begin_close(session_id, "asked", NOW) for _ in range(10)))
    assert Counter(outcomes) == {CloseBegin.STARTED: 1, CloseBegin.ALREADY: 9}
    assert (await reserve(ledger, session_id, "late")).outcome is ReserveOutcome.CLOSING
    draining = asyncio.create_task(ledger.drained(session_id))
    await asyncio.sleep(0)
    assert not draining.done()
    await ledger.commit(commit_of(running))
    await draining
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.closing_reason) == (PRICE, "asked")
    await ledger.record_settled(session_id, SIGNATURE, PRICE, DEPOSIT - PRICE, NOW)
    assert await ledger.begin_close(session_id, "asked", NOW) is CloseBegin.CLOSED
    assert await ledger.begin_close("unheard of", "asked", NOW) is CloseBegin.UNKNOWN
    pending = new_session(1)
    await ledger.admit(pending)
    assert await ledger.begin_close(pending.session_id, "asked", NOW) is CloseBegin.PENDING


async def test_a_released_or_lost_request_drains_as_well(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    await ledger.drained(session_id)
    first, second = held(await reserve(ledger, session_id, "a")), held(await reserve(ledger, session_id, None))
    waiting = [asyncio.create_task(ledger.drained(session_id)) for _ in range(2)]
    await ledger.release(first)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await ledger.release(second)
    await asyncio.gather(*waiting)


async def test_a_payers_exit_closes_and_sets_the_deadline(ledger: Ledger) -> None:
    session_id = await open_session(ledger, expires_at=NOW + 10_000)
    session = await ledger.session(session_id)
    assert session is not None
    assert session.deadline == NOW + 10_000 + GRACE
    assert await ledger.mark_closing_on_chain(session_id, NOW + 5, NOW + 6) is CloseBegin.STARTED
    assert await ledger.mark_closing_on_chain(session_id, NOW + 5, NOW + 7) is CloseBegin.ALREADY
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.state, session.deadline) == (SessionState.CLOSING, NOW + 5 + GRACE)


@pytest.mark.row("F16", attack="closing sessions in any order, on both stores", twin="listed earliest deadline first")
async def test_closing_sessions_are_listed_earliest_deadline_first(ledger: Ledger) -> None:
    """F16."""
    never = await open_session(ledger, 1)
    late = await open_session(ledger, 2, expires_at=NOW + 500)
    exit_ = await open_session(ledger, 3, expires_at=NOW + 900)
    await open_session(ledger, 4)
    for session_id in (never, late, exit_):
        await ledger.begin_close(session_id, "asked", NOW)
    await ledger.mark_closing_on_chain(exit_, NOW + 1, NOW + 1)
    assert await ledger.closing() == [exit_, late, never]


async def test_due_are_the_expired_and_the_idle(ledger: Ledger) -> None:
    await open_session(ledger, 1)
    expired = await open_session(ledger, 2, expires_at=NOW + 10)
    idle = await open_session(ledger, 3, idle_timeout=10)
    busy = await open_session(ledger, 4, idle_timeout=10)
    running = held(await reserve(ledger, busy, "long"))
    assert await ledger.due(NOW + 9) == []
    assert [session.session_id for session in await ledger.due(NOW + 10)] == [expired, idle]
    await ledger.commit(commit_of(running, now=NOW + 12))
    assert busy not in [session.session_id for session in await ledger.due(NOW + 21)]
    assert busy in [session.session_id for session in await ledger.due(NOW + 22)]


async def test_sessions_are_paged_in_order_of_admission(ledger: Ledger) -> None:
    ids = [await open_session(ledger, salt) for salt in range(5)]
    await ledger.begin_close(ids[3], "asked", NOW)
    first = await ledger.sessions(limit=2)
    rest = await ledger.sessions(limit=9, after=first[-1].number)
    assert [session.session_id for session in (*first, *rest)] == ids
    closing = await ledger.sessions(states={SessionState.CLOSING})
    assert [session.session_id for session in closing] == [ids[3]]
    assert await ledger.sessions(states=()) == []


async def test_a_session_is_told_alike_alone_and_among_others(ledger: Ledger) -> None:
    """Whatever a store remembers of a session: before, while and after a request runs, and as it closes."""
    session_id = await open_session(ledger)

    async def told() -> SessionRecord:
        alone = await ledger.session(session_id)
        assert [alone] == list(await ledger.sessions())
        assert alone is not None
        return alone

    assert ((await told()).reserved, (await told()).spent) == (0, 0)
    reservation = held(await reserve(ledger, session_id, "a"))
    assert ((await told()).reserved, (await told()).spent) == (PRICE, 0)
    await ledger.commit(commit_of(reservation))
    assert ((await told()).reserved, (await told()).spent) == (0, PRICE)
    await ledger.update_deposit(session_id, 2 * DEPOSIT, NOW)
    assert (await told()).deposit == 2 * DEPOSIT
    await ledger.begin_close(session_id, "asked for", NOW)
    assert (await told()).state is SessionState.CLOSING
