"""A service with many open sessions sells before it has seen them all: each is looked at when it asks (F32)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retainer.protocol.session import SessionState
from retainer_provider.monitoring.readiness import Readiness
from retainer_provider.settling import watcher
from retainer_provider.settling.first_look import FirstLook
from retainer_provider.settling.watcher import ChainView, Watcher
from tests.books import DEPOSIT, GRACE
from tests.nodes import Node
from tests.trading import Trade, trade_on

PAGE = 2


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def trade(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trade]:
    monkeypatch.setattr(watcher, "_PAGE", PAGE)
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        yield trade


class Starting:
    """A service that has just begun to look."""

    def __init__(self, trade: Trade) -> None:
        self.view = ChainView()
        self.clock = trade.clock
        self.watcher = Watcher(
            chain=trade.chain,
            ledger=trade.ledger,
            clock=trade.clock,
            view=self.view,
            exposure=trade.exposure(10 * DEPOSIT),
        )
        self.first = FirstLook(self.watcher, self.view, trade.clock)
        self.ready = Readiness(ledger=trade.ledger, view=self.view, clock=trade.clock, shortest=GRACE)


async def test_few_sessions_are_all_seen_before_the_first_is_sold_to(trade: Trade) -> None:
    await trade.open()
    starting = Starting(trade)
    assert starting.ready.problems()
    await starting.watcher.look(first_page=True)
    assert starting.view.fresh(trade.clock.now(), GRACE)
    assert not starting.ready.problems()


@pytest.mark.row("F32", attack="exits asked for while the service was down", twin="the others are sold to at once")
async def test_of_many_each_is_looked_at_when_it_asks(trade: Trade) -> None:
    sessions = [await trade.open() for _ in range(PAGE + 2)]
    *_, leaving, staying = sessions
    await trade.request_close(leaving)
    starting = Starting(trade)
    await starting.watcher.look(first_page=True)
    assert not starting.view.fresh(trade.clock.now(), GRACE), "not all were seen"
    assert not starting.ready.problems(), "but it sells"
    assert (await trade.record(leaving)).state is SessionState.ACTIVE
    assert await starting.first.seen(await trade.record(leaving))
    assert (await trade.record(leaving)).state is SessionState.CLOSING, "seen before anything was sold"
    assert await starting.first.seen(await trade.record(staying))
    assert (await trade.record(staying)).state is SessionState.ACTIVE
    await starting.watcher.look()
    assert starting.view.fresh(trade.clock.now(), GRACE)
    assert await starting.first.seen(await trade.record(staying))


@pytest.mark.row("F32", attack="a node that is down, or goes down, at the start", twin="sold to once it is back")
async def test_nothing_is_sold_blindly_at_the_start(node: Node, trade: Trade) -> None:
    sessions = [await trade.open() for _ in range(PAGE + 1)]
    record = await trade.record(sessions[-1])
    starting = Starting(trade)
    assert not await starting.first.seen(record), "the chain has not answered yet"
    await starting.watcher.look(first_page=True)
    node.down = True
    assert not await starting.first.seen(record)
    node.down = False
    assert await starting.first.seen(record)
    node.advance(seconds=GRACE)
    assert not await starting.first.seen(record), "the first pass should have ended long ago"
    assert starting.ready.problems()
    await starting.watcher.look()
    assert await starting.first.seen(record)
