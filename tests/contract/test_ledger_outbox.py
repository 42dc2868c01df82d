"""The way out: one settlement per session, kept before it is sent, and books that balance at the end."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import PlanOutcome, RecordOutcome, SignedOutcome
from retainer_provider.books.records import SettlementPlan, SettlementStage
from tests.books import DEPOSIT, NOW, PRICE, SIGNATURE, ask, commit_of, held, open_session, reserve

if TYPE_CHECKING:
    from tests.contract.conftest import OpenLedger


async def plan_of(ledger: Ledger, session_id: str) -> SettlementPlan:
    """What the books say at this moment."""
    session = await ledger.session(session_id)
    assert session is not None
    return SettlementPlan(
        session.spent, session.units_charged, session.remaining, session.usage_root, session.opened_at
    )


async def closing_session(ledger: Ledger, salt: int = 0) -> str:
    session_id = await open_session(ledger, salt)
    await ask(ledger, session_id, "a")
    await ledger.begin_close(session_id, "asked", NOW)
    return session_id


async def test_only_a_closing_and_drained_session_is_planned(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    running = held(await reserve(ledger, session_id, "a"))
    plan = await plan_of(ledger, session_id)
    assert await ledger.plan_settlement(session_id, plan, NOW) is PlanOutcome.NOT_CLOSING
    await ledger.begin_close(session_id, "asked", NOW)
    assert await ledger.plan_settlement(session_id, plan, NOW) is PlanOutcome.IN_FLIGHT
    await ledger.commit(commit_of(running))
    assert await ledger.plan_settlement(session_id, plan, NOW) is PlanOutcome.STALE
    assert await ledger.settlement(session_id) is None
    plan = await plan_of(ledger, session_id)
    assert await ledger.plan_settlement(session_id, plan, NOW) is PlanOutcome.PLANNED
    assert await ledger.plan_settlement("unheard of", plan, NOW) is PlanOutcome.NOT_CLOSING
    kept = await ledger.settlement(session_id)
    assert kept is not None
    assert (kept.plan, kept.stage, kept.attempts, kept.raw) == (plan, SettlementStage.PLANNED, 0, None)
    assert (plan.amount, plan.refund) == (PRICE, DEPOSIT - PRICE)


@pytest.mark.parametrize(
    "lie",
    [
        {"amount": BaseUnits(PRICE + 1)},
        {"amount": BaseUnits(0), "refund": BaseUnits(DEPOSIT)},
        {"refund": BaseUnits(DEPOSIT - PRICE - 1)},
        {"charged_units": 2},
        {"usage_root": bytes(32)},
        {"opened_at": NOW + 1},
    ],
)
async def test_a_plan_that_says_anything_else_than_the_books_is_refused(
    ledger: Ledger, lie: dict[str, int | bytes]
) -> None:
    session_id = await closing_session(ledger)
    plan = await plan_of(ledger, session_id)
    crooked = replace(plan, **lie)  # type: ignore[arg-type] # the parameters above fit
    assert await ledger.plan_settlement(session_id, crooked, NOW) is PlanOutcome.STALE
    assert await ledger.plan_settlement(session_id, plan, NOW) is PlanOutcome.PLANNED


async def test_an_unsigned_plan_follows_a_late_top_up_and_a_signed_one_stands(ledger: Ledger) -> None:
    session_id = await closing_session(ledger)
    await ledger.plan_settlement(session_id, await plan_of(ledger, session_id), NOW)
    await ledger.update_deposit(session_id, DEPOSIT * 2, NOW)
    newer = await plan_of(ledger, session_id)
    assert await ledger.plan_settlement(session_id, newer, NOW + 1) is PlanOutcome.PLANNED
    kept = await ledger.settlement(session_id)
    assert kept is not None
    assert (kept.plan.refund, kept.created_at) == (DEPOSIT * 2 - PRICE, NOW)
    await ledger.store_signed(session_id, b"transaction", SIGNATURE, 10)
    assert await ledger.plan_settlement(session_id, newer, NOW) is PlanOutcome.SIGNED


@pytest.mark.row(
    "F13", attack="a restart between persisting and sending, on both stores", twin="the same bytes are sent"
)
async def test_the_signed_transaction_survives_a_restart(open_ledger: "OpenLedger") -> None:
    """F13: what is about to be sent is on disk first."""
    ledger = await open_ledger()
    session_id = await closing_session(ledger)
    assert await ledger.store_signed(session_id, b"transaction", SIGNATURE, 1234) is SignedOutcome.NO_PLAN
    await ledger.plan_settlement(session_id, await plan_of(ledger, session_id), NOW)
    assert await ledger.store_signed(session_id, b"transaction", SIGNATURE, 1234) is SignedOutcome.STORED
    ledger = await open_ledger()
    kept = await ledger.settlement(session_id)
    assert kept is not None
    assert (kept.stage, kept.raw, kept.signature) == (SettlementStage.SIGNED, b"transaction", SIGNATURE)
    assert (kept.last_valid_block_height, kept.attempts) == (1234, 1)
    await ledger.store_signed(session_id, b"another", SIGNATURE[::-1], 2345)
    kept = await ledger.settlement(session_id)
    assert kept is not None
    assert (kept.raw, kept.attempts) == (b"another", 2)
    assert await ledger.closing() == [session_id]


async def test_a_settlement_is_recorded_once_and_balances(ledger: Ledger) -> None:
    session_id = await closing_session(ledger)
    await ledger.plan_settlement(session_id, await plan_of(ledger, session_id), NOW)
    await ledger.store_signed(session_id, b"transaction", SIGNATURE, 1234)
    rest = DEPOSIT - PRICE
    for settled, refunded in ((PRICE, rest - 1), (PRICE + 1, rest), (DEPOSIT + 1, 0), (0, 0)):
        unbalanced = await ledger.record_settled(session_id, SIGNATURE, settled, refunded, NOW)
        assert unbalanced is RecordOutcome.MISMATCH
    racers = [ledger.record_settled(session_id, SIGNATURE, PRICE, rest, NOW + 1) for _ in range(10)]
    assert Counter(await asyncio.gather(*racers)) == {RecordOutcome.RECORDED: 1, RecordOutcome.ALREADY: 9}
    session = await ledger.session(session_id)
    kept = await ledger.settlement(session_id)
    assert session is not None
    assert kept is not None
    assert (session.state, session.settled, session.refund) == (SessionState.REFUNDED, PRICE, rest)
    assert (session.settlement_signature, session.closed_at) == (SIGNATURE, NOW + 1)
    assert (kept.stage, kept.raw) == (SettlementStage.DONE, None)
    assert await ledger.closing() == []
    assert await ledger.store_signed(session_id, b"late", SIGNATURE, 9999) is SignedOutcome.NO_PLAN
    assert await ledger.record_settled(session_id, SIGNATURE, 0, DEPOSIT, NOW) is RecordOutcome.ALREADY


async def test_a_withdrawal_is_recorded_without_any_plan(ledger: Ledger) -> None:
    session_id = await closing_session(ledger)
    assert await ledger.record_settled(session_id, SIGNATURE, 0, DEPOSIT, NOW) is RecordOutcome.RECORDED
    session = await ledger.session(session_id)
    assert session is not None
    assert (session.spent, session.settled, session.refund) == (PRICE, 0, DEPOSIT)


async def test_an_active_session_cannot_be_recorded_as_settled(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    assert await ledger.record_settled(session_id, SIGNATURE, 0, DEPOSIT, NOW) is RecordOutcome.NOT_CLOSING
    assert await ledger.record_settled("unheard of", SIGNATURE, 0, DEPOSIT, NOW) is RecordOutcome.NOT_CLOSING
