"""What goes on beside the requests."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from solders.pubkey import Pubkey
from structlog.testing import capture_logs

from retainer.chain.confirm import Timer
from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import LedgerUnavailableError
from retainer_provider.books.outcomes import ReserveOutcome
from retainer_provider.settling.reclaim import Reclaimer
from retainer_provider.settling.watcher import ChainView, Watcher
from retainer_provider.settling.workers import Sweeper, WorkerOptions, Workers
from tests.books import DEPOSIT, GRACE, PRICE, commit_of, held, key, new_session, reserve
from tests.nodes import Node
from tests.times import Pace
from tests.trading import OPERATOR, Trade, trade_on


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def trade(node: Node, tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        yield trade


def sweeper_of(trade: Trade) -> Sweeper:
    reclaimer = Reclaimer(chain=trade.chain, ledger=trade.ledger, operator=OPERATOR, program_id=PROGRAM_ID)
    return Sweeper(
        chain=trade.chain, ledger=trade.ledger, clock=trade.clock, reclaimer=reclaimer, options=WorkerOptions()
    )


def workers_of(trade: Trade, pace: Timer | None = None, **options: object) -> Workers:
    """Waits between tries by ``pace``; while it waits for the chain, the chain's own time passes."""
    return Workers(
        watcher=Watcher(
            chain=trade.chain, ledger=trade.ledger, clock=trade.clock, view=ChainView(), exposure=trade.exposure()
        ),
        sweeper=sweeper_of(trade),
        settler=trade.settler(**options),
        ledger=trade.ledger,
        timer=pace or trade.timer,
        options=WorkerOptions(),
    )


async def test_expired_and_idle_sessions_are_closed(node: Node, trade: Trade) -> None:
    expiring = await trade.open(expires_at=trade.clock.now() + 100)
    idling = await trade.open(idle_timeout=50)
    lasting = await trade.open()
    await sweeper_of(trade).sweep()
    assert {(await trade.record(one)).state for one in (expiring, idling, lasting)} == {SessionState.ACTIVE}
    node.advance(seconds=101)
    await sweeper_of(trade).sweep()
    assert (await trade.record(expiring)).closing_reason == "it expired"
    assert (await trade.record(idling)).closing_reason == "it was idle"
    assert (await trade.record(lasting)).state is SessionState.ACTIVE


async def test_a_deposit_that_never_came_is_given_up(node: Node, trade: Trade) -> None:
    ghost = new_session(99, created_at=trade.clock.now())
    await trade.ledger.admit(ghost)
    node.advance(seconds=899)
    await sweeper_of(trade).sweep()
    assert (await trade.record(ghost.session_id)).state is SessionState.PENDING
    node.advance(seconds=2)
    node.down = True
    with pytest.raises(ChainUnavailableError):
        await sweeper_of(trade).sweep()
    assert (await trade.record(ghost.session_id)).state is SessionState.PENDING, "a silent chain proves nothing"
    node.down = False
    await sweeper_of(trade).sweep()
    assert (await trade.record(ghost.session_id)).state is SessionState.ABANDONED


async def test_a_deposit_whose_agent_never_came_back_is_returned(node: Node, trade: Trade, tmp_path: Path) -> None:
    """The opening landed, and then nobody asked again: the payer gets everything back without doing anything."""
    session_id = await trade.open()
    async with trade.other_books(tmp_path / "other.db") as forgetful:
        await forgetful.ledger.admit(replace(await forgetful.opening_of(session_id), created_at=trade.clock.now()))
        node.advance(seconds=901)
        await sweeper_of(forgetful).sweep()
        record = await forgetful.record(session_id)
        assert (record.state, record.closing_reason) == (SessionState.CLOSING, "it was opened and never used")
        await forgetful.settler().settle(session_id)
        record = await forgetful.record(session_id)
        assert (record.state, record.settled, record.refund) == (SessionState.REFUNDED, 0, DEPOSIT)


@pytest.mark.parametrize(
    "agreed", [{"deposit": DEPOSIT + 1}, {"operator": key("another operator")}, {"price": PRICE + 1}], ids=str
)
async def test_a_deposit_that_is_not_as_agreed_is_given_up(
    node: Node, trade: Trade, tmp_path: Path, agreed: dict[str, int | Pubkey]
) -> None:
    session_id = await trade.open()
    async with trade.other_books(tmp_path / "other.db") as forgetful:
        told = replace(await forgetful.opening_of(session_id), created_at=trade.clock.now())
        await forgetful.ledger.admit(replace(told, **agreed))  # type: ignore[arg-type] # fields of an opening
        node.advance(seconds=901)
        await sweeper_of(forgetful).sweep()
        assert (await forgetful.record(session_id)).state is SessionState.ABANDONED


async def test_answers_go_a_day_after_close(node: Node, trade: Trade) -> None:
    session_id = await trade.closing(requests=1)
    await trade.settler().settle(session_id)
    node.advance(seconds=24 * 3600)
    await sweeper_of(trade).sweep()
    assert (await reserve(trade.ledger, session_id, "0")).outcome is ReserveOutcome.REPLAY
    node.advance(seconds=1)
    await sweeper_of(trade).sweep()
    assert (await reserve(trade.ledger, session_id, "0")).outcome is ReserveOutcome.CLOSED


async def test_everything_closing_is_settled_without_being_asked(node: Node, trade: Trade) -> None:
    """What a restart finds, and what payers and the sweeper close meanwhile."""
    left_over = await trade.closing(requests=2)
    leaving = await trade.open(requests=1)
    expiring = await trade.open(expires_at=trade.clock.now() + 100)
    pace = Pace()
    workers = workers_of(trade, pace)
    async with workers.running():
        await pace.waited_for(3)
        await workers.settled()
        assert (await trade.record(left_over)).settled == 2 * PRICE
        await trade.request_close(leaving)
        node.advance(seconds=100)
        for _ in range(2):  # a session closed in one pass may be found by the settler in the next
            await pace.tick()
        await workers.settled()
    assert (await trade.record(leaving)).settled == PRICE
    assert (await trade.record(expiring)).settled == 0


async def test_a_chain_that_is_down_for_a_while_is_waited_for(node: Node, trade: Trade) -> None:
    session_id = await trade.closing(requests=1)
    node.down = True
    down_until = node.monotonic() + 120

    def recover() -> None:
        node.down = node.monotonic() < down_until

    node.after_sleep = recover
    workers = workers_of(trade)
    await workers.settle_open()
    await workers.settled()
    assert node.monotonic() >= down_until
    assert (await trade.record(session_id)).settled == PRICE


async def test_a_pass_that_fails_is_tried_again(node: Node, trade: Trade) -> None:
    pace = Pace()
    expiring = await trade.open(expires_at=trade.clock.now() + 100)
    node.advance(seconds=100)
    workers = workers_of(trade, pace)
    node.down = True
    with capture_logs() as logs:
        async with workers.running():
            await pace.waited_for(3)
            node.down = False
            for _ in range(2):
                await pace.tick()
            await workers.settled()
    assert "chain_unavailable" in [line["event"] for line in logs]
    assert (await trade.record(expiring)).state is SessionState.REFUNDED


async def test_stopping_waits_for_nothing_and_the_next_start_goes_on(trade: Trade) -> None:
    session_id = await trade.open()
    running = held(await reserve(trade.ledger, session_id, "long"))
    await trade.ledger.begin_close(session_id, "asked", trade.clock.now())
    pace = Pace()
    async with workers_of(trade, pace).running():
        await pace.waited_for(3)
    assert (await trade.record(session_id)).state is SessionState.CLOSING
    await trade.ledger.commit(commit_of(running))
    workers = workers_of(trade)
    await workers.settle_open()
    await workers.settled()
    assert (await trade.record(session_id)).settled == PRICE


async def test_a_ledger_that_failed_ends_the_work(trade: Trade) -> None:
    await trade.ledger.aclose()
    pace = Pace()
    workers = workers_of(trade, pace)
    with pytest.raises(LedgerUnavailableError):
        await workers.settle_open()
    with capture_logs() as logs:
        async with workers.running():
            while len(logs) < 3:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
    assert [line["event"] for line in logs] == ["ledger_unavailable"] * 3


@pytest.mark.row("F16", attack="many sessions due after an outage", twin="earliest deadline first")
async def test_the_earliest_deadline_is_settled_first(node: Node, trade: Trade) -> None:
    """F16: after a long outage what is about to be lost comes first, whatever came into the books first."""
    now = trade.clock.now()
    ends = [now + seconds for seconds in (700, 0, 300, 900, 500, 100)]
    sessions = {end: await trade.open(requests=1, expires_at=end and end + 1000) for end in ends}
    sessions[0] = await trade.open(requests=1)
    for session_id in sessions.values():
        await trade.ledger.begin_close(session_id, "asked", now)
    workers = workers_of(trade, parallel=1)
    before = len(node.sent)
    await workers.settle_open()
    await workers.settled()
    first_sent = list(dict.fromkeys(node.sent[before:]))
    by_deadline = [sessions[end] for end in sorted(sessions, key=lambda end: (end == 0, end))]
    assert first_sent == [(await trade.record(session_id)).settlement_signature for session_id in by_deadline]


class SharedTime:
    """Time that all who wait for it share: `step` lets one second pass for everybody."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: list[asyncio.Future[None]] = []

    def monotonic(self) -> float:
        return self._node.monotonic()

    async def sleep(self, seconds: float) -> None:
        self._waiting.append(asyncio.get_running_loop().create_future())
        await self._waiting[-1]

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def step(self) -> None:
        self._node.advance(seconds=1)
        woken, self._waiting = self._waiting, []
        for waiter in woken:
            waiter.set_result(None)


@pytest.mark.row("F16", attack="1,000 sessions whose deadlines are 60 seconds away", twin="all settled, earliest first")
async def test_a_thousand_sessions_are_settled_in_the_last_minute(node: Node, trade: Trade) -> None:
    """F16: a provider comes back after a long outage. Seconds are the chain's; all settlements share them."""
    count, window, parallel = 1_000, 60, 16
    start = trade.clock.now() + 10 * count
    ends = [start + number % 10 for number in range(count)]
    sessions = [await trade.open(requests=1, expires_at=end) for end in ends]
    node.advance(seconds=start + GRACE - window - trade.clock.now())
    await sweeper_of(trade).sweep()
    time, before = SharedTime(node), len(node.sent)
    workers = workers_of(replace(trade, timer=time), parallel=parallel)
    await workers.settle_open()
    settled = asyncio.create_task(workers.settled())
    while not settled.done():
        if time.waiting == workers.settling:
            time.step()
        await asyncio.sleep(0.001)
    assert trade.clock.now() < start + GRACE
    records = [await trade.record(session_id) for session_id in sessions]
    assert Counter((record.state, record.settled) for record in records) == {(SessionState.REFUNDED, PRICE): count}
    due = {record.settlement_signature: record.deadline or 0 for record in records}
    first_sent = [due[signature] for signature in dict.fromkeys(node.sent[before:])]
    ahead = [place for place, end in enumerate(first_sent) if end < max(first_sent[: max(0, place - parallel)] or [0])]
    assert ahead == [], "only what runs at the same time may overtake"


@pytest.mark.row("F16", attack="a deadline that comes near", twin="an alarm")
async def test_a_deadline_that_comes_near_is_an_alarm(node: Node, trade: Trade) -> None:
    session_id = await trade.closing(requests=1)
    await trade.request_close(session_id)
    await trade.ledger.mark_closing_on_chain(session_id, trade.clock.now(), trade.clock.now())
    node.down = True
    with capture_logs() as quiet:
        await trade.settler().settle(session_id)
    node.advance(seconds=GRACE * 2 / 3 + 1)
    with capture_logs() as alarmed:
        await trade.settler().settle(session_id)
    assert "settlement_urgent" not in [line["event"] for line in quiet]
    assert "settlement_urgent" in [line["event"] for line in alarmed]
