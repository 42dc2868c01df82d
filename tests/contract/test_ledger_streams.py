"""A stream's money: what has left is in the books before it leaves, and stays charged whatever dies (F11)."""

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.usage import usage_root
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import (
    CloseBegin,
    CommitOutcome,
    DeliverOutcome,
    PlanOutcome,
    ReleaseOutcome,
    ReserveOutcome,
)
from retainer_provider.books.records import Commit, Progress, Reservation, SettlementPlan
from tests.books import DEPOSIT, NOW, PRICE, SIGNATURE, answer_of, commit_of, held, open_session, reserve

if TYPE_CHECKING:
    from tests.contract.conftest import OpenLedger

HEADERS = (("content-type", "text/event-stream"),)


def progress_of(reservation: Reservation, units: int, *, length: int = 7) -> Progress:
    """A stream after so many units."""
    usage = replace(commit_of(reservation).usage, body_bytes=length)
    return Progress(Charge(charged=True, units=units, amount=BaseUnits(units * PRICE)), usage, HEADERS)


async def flowing(ledger: Ledger, session_id: str, key: str = "stream", units: int = 3) -> Reservation:
    """A stream that has ten units reserved, of which so many have left."""
    reservation = held(await reserve(ledger, session_id, key, amount=10 * PRICE))
    for number in range(1, units + 1):
        assert await ledger.deliver(reservation, progress_of(reservation, number)) is DeliverOutcome.KEPT
    return reservation


async def booked(ledger: Ledger) -> list[CommitOutcome]:
    """What became of the cut streams there were."""
    streams = await ledger.cut_streams()
    return [
        (await ledger.commit(Commit(cut.reservation, cut.progress.charge, cut.progress.usage, answer_of, NOW))).outcome
        for cut in streams
    ]


@pytest.mark.row("F11", attack="a crash in the middle of a stream, on both stores", twin="what had left is charged")
async def test_a_stream_outlives_its_process_as_far_as_it_had_come(open_ledger: "OpenLedger") -> None:
    ledger = await open_ledger()
    session_id = await open_session(ledger)
    await flowing(ledger, session_id)
    assert await ledger.cut_streams() == [], "it is sent still"
    for _ in range(2):  # dying again changes nothing
        ledger = await open_ledger()
        record = await ledger.session(session_id)
        assert record is not None
        assert (record.spent, record.reserved) == (0, 10 * PRICE), "nobody else can spend it meanwhile"
    assert (await reserve(ledger, session_id, "stream")).outcome is not ReserveOutcome.RESERVED
    [cut] = await ledger.cut_streams()
    assert (cut.progress.charge.units, cut.progress.headers, cut.progress.usage.body_bytes) == (3, HEADERS, 7)
    assert await booked(ledger) == [CommitOutcome.COMMITTED]
    ledger = await open_ledger()
    assert await ledger.cut_streams() == []
    record, entries = await ledger.session(session_id), await ledger.usage(session_id)
    assert record is not None
    assert (record.spent, record.reserved, record.units_charged, record.sequence) == (3 * PRICE, 0, 3, 1)
    assert record.usage_root == usage_root(entries)
    assert (entries[0].units, entries[0].body_bytes) == (3, 7)


async def test_a_stream_that_ends_is_booked_once_and_for_what_it_came_to(open_ledger: "OpenLedger") -> None:
    ledger = await open_ledger()
    session_id = await open_session(ledger)
    reservation = await flowing(ledger, session_id)
    whole = Charge(charged=True, units=4, amount=BaseUnits(4 * PRICE))
    end = replace(commit_of(reservation), charge=whole)
    assert (await ledger.commit(end)).outcome is CommitOutcome.COMMITTED
    assert await ledger.deliver(reservation, progress_of(reservation, 5)) is DeliverOutcome.LOST
    ledger = await open_ledger()
    assert await ledger.cut_streams() == []
    record = await ledger.session(session_id)
    assert record is not None
    assert (record.spent, record.reserved, record.sequence) == (4 * PRICE, 0, 1)


async def test_giving_a_stream_up_gives_back_only_what_has_not_left(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    reservation = await flowing(ledger, session_id)
    unsent = held(await reserve(ledger, session_id, "unsent", amount=10 * PRICE))
    assert await ledger.release(unsent) is ReleaseOutcome.RELEASED
    assert await ledger.release(reservation) is ReleaseOutcome.CUT
    assert await ledger.deliver(reservation, progress_of(reservation, 4)) is DeliverOutcome.LOST
    assert await booked(ledger) == [CommitOutcome.COMMITTED]
    record = await ledger.session(session_id)
    assert record is not None
    assert (record.spent, record.reserved) == (3 * PRICE, 0)


async def test_nothing_is_settled_before_a_cut_stream_is_booked(open_ledger: "OpenLedger") -> None:
    ledger = await open_ledger()
    session_id = await open_session(ledger)
    await flowing(ledger, session_id)
    ledger = await open_ledger()
    assert await ledger.begin_close(session_id, "asked", NOW) is CloseBegin.STARTED
    nothing = SettlementPlan(BaseUnits(0), 0, BaseUnits(DEPOSIT), bytes(32), NOW)
    assert await ledger.plan_settlement(session_id, nothing, NOW) is PlanOutcome.IN_FLIGHT
    assert await booked(ledger) == [CommitOutcome.COMMITTED]
    await ledger.drained(session_id)
    record = await ledger.session(session_id)
    assert record is not None
    paid = SettlementPlan(BaseUnits(3 * PRICE), 3, BaseUnits(DEPOSIT - 3 * PRICE), record.usage_root, NOW)
    assert await ledger.plan_settlement(session_id, paid, NOW) is PlanOutcome.PLANNED


@pytest.mark.row("F32", attack="the payer withdrew in the middle of a stream", twin="nothing more of it leaves")
async def test_nothing_leaves_of_a_stream_whose_session_is_over(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    reservation = await flowing(ledger, session_id)
    await ledger.begin_close(session_id, "asked", NOW)
    assert await ledger.deliver(reservation, progress_of(reservation, 4)) is DeliverOutcome.KEPT
    await ledger.record_settled(session_id, SIGNATURE, 0, DEPOSIT, NOW)
    assert await ledger.deliver(reservation, progress_of(reservation, 5)) is DeliverOutcome.LOST
    await ledger.release(reservation)
    assert await booked(ledger) == [CommitOutcome.LOST]
    assert await ledger.cut_streams() == []
