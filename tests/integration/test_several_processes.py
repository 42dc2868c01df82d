"""One service as several processes on one PostgreSQL: each request runs once, each session is settled once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import CommitOutcome, DeliverOutcome
from retainer_provider.books.records import Progress, SessionRecord
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.clock import SystemClock
from retainer_provider.sessions.cut_streams import CutStreams
from retainer_provider.sessions.metering import Delivery, DeliveryKind, MeteredRequest, Metering
from retainer_provider.sessions.refusals import RefusedError
from retainer_provider.settling.settler import SettlementOutcome
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.upstream import UpstreamResult
from tests.books import PRICE, commit_of, held, open_session, reserve
from tests.nodes import Node
from tests.trading import FUNDS, OPERATOR, trade_on

REQUEST = MeteredRequest("GET", "/quote", b"", "key")


@pytest.fixture
async def ledgers(postgres_url: str) -> AsyncIterator[Sequence[PostgresLedger]]:
    """The books as two processes have them."""
    async with AsyncExitStack() as stack:
        opened = [await PostgresLedger.open(postgres_url, connections=4) for _ in range(2)]
        for ledger in opened:
            stack.push_async_callback(ledger.aclose)
        yield opened


class Service:
    """Answers when it is told to, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.called = asyncio.Event()
        self.go = asyncio.Event()

    async def call(self, _: MeteredRequest) -> UpstreamResult:
        self.asked += 1
        self.called.set()
        await self.go.wait()
        return UpstreamResult(Answer(200, (), b"paid for"), latency_ms=1)


def metering(ledger: PostgresLedger, wait: float) -> Metering:
    return Metering(ledger=ledger, operator=OPERATOR, clock=SystemClock(), wait=wait)


async def opened(ledger: PostgresLedger) -> SessionRecord:
    record = await ledger.session(await open_session(ledger))
    assert record is not None
    return record


async def opened_as(ledger: PostgresLedger, record: SessionRecord) -> SessionRecord:
    after = await ledger.session(record.session_id)
    assert after is not None
    return after


@pytest.mark.row(
    "F18", attack="a request repeated at another process while it runs", twin="one run, one charge, the same answer"
)
async def test_a_request_repeated_at_another_process_waits_for_its_first_run(ledgers: Sequence[PostgresLedger]) -> None:
    """F18: one run, one charge, the same answer from both."""
    record, service = await opened(ledgers[0]), Service()
    first = asyncio.create_task(metering(ledgers[0], 30).serve(record, REQUEST, service.call))
    await service.called.wait()
    again = asyncio.create_task(metering(ledgers[1], 30).serve(record, REQUEST, service.call))
    with pytest.raises(RefusedError, match="still running"):
        await metering(ledgers[1], 0).serve(record, REQUEST, service.call)
    service.go.set()
    delivered, replayed = await first, await again
    assert isinstance(delivered, Delivery)
    assert isinstance(replayed, Delivery)
    assert (delivered.kind, replayed.kind) == (DeliveryKind.CHARGED, DeliveryKind.REPLAYED)
    assert delivered.answer == replayed.answer
    after = await ledgers[1].session(record.session_id)
    assert after is not None
    assert (service.asked, after.spent, after.reserved) == (1, PRICE, 0)


async def test_an_answer_that_comes_after_the_lease_is_withheld(
    ledgers: Sequence[PostgresLedger], postgres_url: str
) -> None:
    record, service = await opened(ledgers[0]), Service()
    late = asyncio.create_task(metering(ledgers[0], 30).serve(record, REQUEST, service.call))
    await service.called.wait()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE process SET lease_until = '-infinity'")
    service.go.set()
    with pytest.raises(RefusedError, match="nothing was charged"):
        await late
    after = await ledgers[1].session(record.session_id)
    assert after is not None
    assert (after.spent, after.sequence) == (0, 0)


@pytest.mark.row(
    "F11", attack="a process that stalls in the middle of a stream", twin="another one charges what had left"
)
async def test_a_stream_whose_process_stalls_is_booked_by_another(
    ledgers: Sequence[PostgresLedger], postgres_url: str
) -> None:
    """F11: and nothing more of it leaves, should the first one come back."""
    record = await opened(ledgers[0])
    reservation = held(await reserve(ledgers[0], record.session_id, "stream", amount=10 * PRICE))
    usage = commit_of(reservation).usage
    two = Progress(Charge(charged=True, units=2, amount=BaseUnits(2 * PRICE)), usage, ())
    assert await ledgers[0].deliver(reservation, two) is DeliverOutcome.KEPT
    cut_streams = CutStreams(ledger=ledgers[1], operator=OPERATOR, clock=SystemClock())
    await cut_streams.book()
    assert (await opened_as(ledgers[1], record)).spent == 0, "it is sent still"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE process SET lease_until = '-infinity' WHERE epoch = %s", (reservation.epoch,))
    await cut_streams.book()
    assert await ledgers[0].deliver(reservation, two) is DeliverOutcome.LOST
    assert (await ledgers[0].commit(commit_of(reservation))).outcome is CommitOutcome.LOST
    after = await opened_as(ledgers[1], record)
    assert (after.spent, after.reserved, after.sequence) == (2 * PRICE, 0, 1)


async def test_processes_that_settle_together_sign_one_transaction(
    ledgers: Sequence[PostgresLedger], tmp_path: Path
) -> None:
    """F14: exactly one payout, and nothing else was ever sent."""
    node = Node()
    async with trade_on(node, tmp_path / "unused.db") as alone:
        trades = [replace(alone, ledger=ledger) for ledger in ledgers]
        session_id = await trades[0].closing(requests=3)
        before = len(node.sent)
        outcomes = await asyncio.gather(*(trade.settler().settle(session_id) for trade in trades))
        assert outcomes == [SettlementOutcome.SETTLED] * 2
        assert len(set(node.sent[before:])) == 1
        assert await alone.balances() == (3 * PRICE, FUNDS - 3 * PRICE)
        assert (await trades[1].settlement(session_id)).attempts == 1
