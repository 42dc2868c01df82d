"""A dry run says what would be sent, and changes neither books nor chain."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.session import SessionState
from retainer_provider.settling.closing_transaction import CloseBuilder, CostPolicy
from retainer_provider.settling.rehearsal import Rehearsal, rehearse
from retainer_provider.settling.settler import SettlementOutcome
from tests.books import DEPOSIT, PRICE
from tests.nodes import Node
from tests.trading import OPERATOR, Trade, trade_on

SPENT = 30 * PRICE


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def trade(node: Node, tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        yield trade


async def rehearsed(trade: Trade, session_id: str) -> Rehearsal:
    builder = CloseBuilder(trade.chain, OPERATOR, PROGRAM_ID, CostPolicy())
    return await rehearse(trade.chain, trade.ledger, builder, PROGRAM_ID, await trade.record(session_id))


async def test_it_says_what_settling_then_does(node: Node, trade: Trade) -> None:
    session_id = await trade.open(requests=30)
    sent = len(node.sent)
    would = await rehearsed(trade, session_id)
    assert would.obstacle is None
    assert would.plan is not None
    assert (would.plan.amount, would.plan.refund, would.credit_units) == (SPENT, DEPOSIT - SPENT, 0)
    assert len(node.sent) == sent
    assert (await trade.record(session_id)).state is SessionState.ACTIVE
    assert await trade.ledger.settlement(session_id) is None
    await trade.ledger.begin_close(session_id, "asked", trade.clock.now())
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    info = await node.landed((await trade.record(session_id)).settlement_signature or "")
    assert (len(info.raw), info.compute_units) == (would.size, would.compute_units)
    gone = await rehearsed(trade, session_id)
    assert (gone.obstacle or "").startswith("its account is gone")


async def test_it_names_what_stands_in_the_way(trade: Trade) -> None:
    session_id = await trade.closing(requests=2)
    await trade.pay_out(session_id, 3)
    assert "restored from an old backup" in ((await rehearsed(trade, session_id)).obstacle or "")
