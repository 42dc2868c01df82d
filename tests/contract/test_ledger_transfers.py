"""Custodial deposits in the books: one transfer counts once, for one session, and none is forgotten at the end."""

import asyncio
from dataclasses import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import (
    CreditOutcome,
    ExpectOutcome,
    PlanOutcome,
    RecordOutcome,
)
from retainer_provider.books.records import Custody, ExpectedTransfer, SessionRecord, SettlementPlan
from tests.books import DEPOSIT, NOW, new_session
from tests.contract.conftest import OpenLedger

FIRST, SECOND = ExpectedTransfer("1" * 88, DEPOSIT, 1000), ExpectedTransfer("2" * 88, DEPOSIT // 2, 1000)


async def pending(ledger: Ledger, salt: int = 0) -> str:
    """A custodial session whose deposit is awaited."""
    new = new_session(salt, custody=Custody.PROVIDER)
    await ledger.admit(new)
    return new.session_id


async def opened(ledger: Ledger, transfer: ExpectedTransfer = FIRST, salt: int = 0) -> str:
    """A custodial session whose deposit has come."""
    session_id = await pending(ledger, salt)
    assert await ledger.expect_transfer(session_id, transfer) is ExpectOutcome.EXPECTED
    assert await ledger.credit_transfer(session_id, transfer.signature, NOW) is CreditOutcome.CREDITED
    return session_id


async def shown(ledger: Ledger, session_id: str) -> SessionRecord:
    record = await ledger.session(session_id)
    assert record is not None
    return record


def plan_of(record: SessionRecord) -> SettlementPlan:
    return SettlementPlan(
        amount=record.spent,
        charged_units=record.units_charged,
        refund=BaseUnits(record.deposit - record.spent),
        usage_root=record.usage_root,
        opened_at=record.opened_at,
    )


async def test_a_final_transfer_opens_the_session_with_what_it_moved(ledger: Ledger) -> None:
    record = await shown(ledger, await opened(ledger, replace(FIRST, amount=DEPOSIT - 1)))
    assert (record.state, record.custody, record.deposit) == (SessionState.ACTIVE, Custody.PROVIDER, DEPOSIT - 1)
    assert (record.creation_signature, record.opened_at) == (FIRST.signature, NOW)


async def test_a_transfer_serves_one_session_for_ever(open_ledger: OpenLedger) -> None:
    """F01, also after a restart, and also when the session it served is over."""
    ledger = await open_ledger()
    session_id, other = await opened(ledger), await pending(ledger, salt=1)
    ledger = await open_ledger()
    assert await ledger.expect_transfer(other, FIRST) is ExpectOutcome.REPLAYED
    assert await ledger.credit_transfer(other, FIRST.signature, NOW) is CreditOutcome.REFUSED
    await ledger.begin_close(session_id, "over", NOW)
    assert await ledger.expect_transfer(other, FIRST) is ExpectOutcome.REPLAYED
    assert (await shown(ledger, other)).state is SessionState.PENDING


async def test_of_sessions_that_race_for_one_transfer_one_gets_it(ledger: Ledger) -> None:
    sessions = [await pending(ledger, salt) for salt in range(8)]

    async def claim(session_id: str) -> bool:
        expected = await ledger.expect_transfer(session_id, FIRST)
        await ledger.credit_transfer(session_id, FIRST.signature, NOW)
        return expected is ExpectOutcome.EXPECTED

    assert sum(await asyncio.gather(*map(claim, sessions))) == 1
    deposits = [(await shown(ledger, session_id)).state for session_id in sessions]
    assert deposits.count(SessionState.ACTIVE) == 1


async def test_a_transfer_told_often_and_at_once_counts_once(ledger: Ledger) -> None:
    """F02."""
    session_id = await opened(ledger)

    async def tell() -> CreditOutcome:
        await ledger.expect_transfer(session_id, SECOND)
        return await ledger.credit_transfer(session_id, SECOND.signature, NOW)

    told = await asyncio.gather(*(tell() for _ in range(8)))
    assert sorted(told) == sorted([CreditOutcome.CREDITED, *[CreditOutcome.ALREADY] * 7])
    assert (await shown(ledger, session_id)).deposit == FIRST.amount + SECOND.amount


async def test_nothing_is_settled_while_a_transfer_is_on_its_way(ledger: Ledger) -> None:
    session_id = await opened(ledger)
    await ledger.expect_transfer(session_id, SECOND)
    await ledger.begin_close(session_id, "asked", NOW)
    early = plan_of(await shown(ledger, session_id))
    assert await ledger.plan_settlement(session_id, early, NOW) is PlanOutcome.STALE
    assert [transfer.signature for transfer in await ledger.expected_transfers(session_id)] == [SECOND.signature]
    assert await ledger.credit_transfer(session_id, SECOND.signature, NOW) is CreditOutcome.CREDITED
    assert await ledger.plan_settlement(session_id, early, NOW) is PlanOutcome.STALE
    whole = plan_of(await shown(ledger, session_id))
    assert whole.refund == FIRST.amount + SECOND.amount
    assert await ledger.plan_settlement(session_id, whole, NOW) is PlanOutcome.PLANNED


async def test_a_dead_transfer_neither_counts_nor_stands_in_the_way(ledger: Ledger) -> None:
    session_id = await opened(ledger)
    await ledger.expect_transfer(session_id, SECOND)
    await ledger.drop_transfer(SECOND.signature)
    assert await ledger.expect_transfer(session_id, SECOND) is ExpectOutcome.DEAD
    assert await ledger.credit_transfer(session_id, SECOND.signature, NOW) is CreditOutcome.REFUSED
    await ledger.begin_close(session_id, "asked", NOW)
    plan = plan_of(await shown(ledger, session_id))
    assert plan.refund == FIRST.amount
    assert await ledger.plan_settlement(session_id, plan, NOW) is PlanOutcome.PLANNED


async def test_what_is_credited_cannot_be_dropped(ledger: Ledger) -> None:
    session_id = await opened(ledger)
    await ledger.drop_transfer(FIRST.signature)
    assert await ledger.expect_transfer(session_id, FIRST) is ExpectOutcome.KNOWN
    assert (await shown(ledger, session_id)).deposit == FIRST.amount


async def test_a_session_that_is_ending_takes_no_new_transfer(ledger: Ledger) -> None:
    session_id = await opened(ledger)
    await ledger.begin_close(session_id, "asked", NOW)
    assert await ledger.expect_transfer(session_id, SECOND) is ExpectOutcome.NOT_OPEN


async def test_an_escrowed_session_takes_no_transfer(ledger: Ledger) -> None:
    new = new_session()
    await ledger.admit(new)
    assert await ledger.expect_transfer(new.session_id, FIRST) is ExpectOutcome.NOT_OPEN


async def test_what_is_spent_to_the_last_unit_ends_without_a_transaction(ledger: Ledger) -> None:
    session_id = await opened(ledger)
    await ledger.begin_close(session_id, "asked", NOW)
    recorded = await ledger.record_settled(session_id, None, DEPOSIT, 0, NOW)
    assert recorded is RecordOutcome.RECORDED
    assert (await shown(ledger, session_id)).settlement_signature is None
