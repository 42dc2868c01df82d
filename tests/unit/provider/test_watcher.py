"""What the service learns from the chain about sessions that are open (F06, F07, F32)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import Commitment
from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.session import SessionState
from retainer_provider.books.outcomes import ReserveOutcome
from retainer_provider.settling.settler import SettlementOutcome
from retainer_provider.settling.watcher import ChainView, Watcher
from tests.books import DEPOSIT, GRACE, PRICE, reserve
from tests.nodes import Node
from tests.trading import Trade, trade_on


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def trade(node: Node, tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        yield trade


def watcher_of(
    trade: Trade,
    view: ChainView | None = None,
    commitment: Commitment = Commitment.CONFIRMED,
    cap: int = 10 * DEPOSIT,
) -> Watcher:
    return Watcher(
        chain=trade.chain,
        ledger=trade.ledger,
        clock=trade.clock,
        view=view or ChainView(),
        exposure=trade.exposure(cap, commitment),
    )


@pytest.mark.row("F32", attack="the payer closes on chain", twin="the session stops at once")
async def test_an_exit_asked_for_on_chain_stops_the_session_at_once(trade: Trade) -> None:
    """F32."""
    session_id, other = await trade.open(requests=1), await trade.open()
    await trade.request_close(session_id)
    await watcher_of(trade).look()
    assert (await reserve(trade.ledger, session_id, "late")).outcome is ReserveOutcome.CLOSING
    record = await trade.record(session_id)
    account = await trade.account(session_id)
    assert account is not None
    assert record.deadline == account.deadline() == account.closure_started_at + GRACE
    assert (await trade.record(other)).state is SessionState.ACTIVE
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    assert (await trade.record(session_id)).settled == PRICE


async def test_a_top_up_counts_from_the_level_that_deposits_count_from(node: Node, trade: Trade) -> None:
    session_id = await trade.open()
    await trade.top_up(session_id, 500)
    strict = watcher_of(trade, commitment=Commitment.FINALIZED)
    await strict.look()
    assert (await trade.record(session_id)).deposit == DEPOSIT
    await watcher_of(trade).look()
    assert (await trade.record(session_id)).deposit == DEPOSIT + 500
    await trade.top_up(session_id, 500)
    node.advance(slots=40)
    await strict.look()
    assert (await trade.record(session_id)).deposit == DEPOSIT + 1000


async def test_a_session_removed_on_chain_is_closed_and_attributed(node: Node, trade: Trade) -> None:
    session_id = await trade.open(expires_at=trade.clock.now() + 60)
    node.advance(seconds=60 + GRACE + 1)
    signature = await trade.withdraw(session_id)
    await watcher_of(trade).look()
    assert (await trade.record(session_id)).state is SessionState.ACTIVE, "not final yet"
    node.advance(slots=40)
    await watcher_of(trade).look()
    assert await trade.settler().settle(session_id) is SettlementOutcome.WITHDRAWN
    assert (await trade.record(session_id)).settlement_signature == signature


async def test_a_node_that_misses_an_account_for_a_moment_closes_nothing(node: Node, trade: Trade) -> None:
    session_id = await trade.open()
    node.hidden.add(Pubkey.from_string(session_id))
    await watcher_of(trade).look()
    assert (await trade.record(session_id)).state is SessionState.ACTIVE


@pytest.mark.row(
    "F06", attack="a confirmed deposit that is gone from the finalized chain", twin="one that stays is served"
)
async def test_a_deposit_that_vanished_with_its_fork_buys_nothing(node: Node, trade: Trade) -> None:
    """F06: seen at confirmed, and not on the finalized chain long after."""
    node.advance(slots=40)
    view = ChainView()
    session_id = await trade.open()
    await watcher_of(trade, view).look()
    node.fork(10)
    node.advance(seconds=121)
    node.behind = 600
    with pytest.raises(ChainUnavailableError, match="behind"):
        await watcher_of(trade, view).look()
    assert (await trade.record(session_id)).state is SessionState.ACTIVE, "a node that lags proves nothing"
    node.behind = 0
    await watcher_of(trade, view).look()
    record = await trade.record(session_id)
    assert (record.state, record.closing_reason) == (SessionState.CLOSING, "its account vanished from the chain")
    assert await trade.settler().settle(session_id) is SettlementOutcome.UNDER_WAY


@pytest.mark.row("F06", attack="a fork takes a confirmed deposit back", twin="served again once it is there again")
async def test_a_session_whose_deposit_vanished_is_frozen_until_it_is_back(node: Node, trade: Trade) -> None:
    """F06: from the next look on, for as long as it is away; books and chain lose nothing by a node that lagged."""
    node.advance(slots=40)
    view = ChainView()
    session_id, other = await trade.open(), await trade.open()
    watcher = watcher_of(trade, view)
    await watcher.look()
    assert view.frozen_sessions == 0
    node.hidden.add(Pubkey.from_string(session_id))
    await watcher.look()
    assert (view.frozen(session_id), view.frozen(other)) == (True, False)
    node.hidden.clear()
    await watcher.look()
    assert view.frozen_sessions == 0


@pytest.mark.row("F06", attack="a fork takes a confirmed top-up back", twin="served again once it landed again")
async def test_a_session_whose_top_up_vanished_is_frozen(node: Node, trade: Trade) -> None:
    """F06."""
    session_id = await trade.open()
    node.advance(slots=40)
    await trade.top_up(session_id, DEPOSIT)
    node.advance(slots=5)
    view = ChainView()
    await watcher_of(trade, view).look()
    assert (await trade.record(session_id)).deposit == 2 * DEPOSIT
    node.fork(10)
    node.advance(slots=10)
    await watcher_of(trade, view).look()
    assert view.frozen(session_id)
    await trade.top_up(session_id, DEPOSIT)
    node.advance(slots=5)
    await watcher_of(trade, view).look()
    assert not view.frozen(session_id)


async def test_a_top_up_above_the_cap_counts_when_it_is_final(node: Node, trade: Trade) -> None:
    """F06: what is final already is no risk, so the cap is about the rest."""
    session_id = await trade.open()
    node.advance(slots=40)
    await trade.top_up(session_id, 500)
    node.advance(slots=5)
    await watcher_of(trade, cap=499).look()
    assert (await trade.record(session_id)).deposit == DEPOSIT
    await watcher_of(trade, cap=500).look()
    assert (await trade.record(session_id)).deposit == DEPOSIT + 500
    await trade.top_up(session_id, 500)
    node.advance(slots=40)
    await watcher_of(trade, cap=0).look()
    assert (await trade.record(session_id)).deposit == DEPOSIT + 1000


async def test_a_foreign_account_changes_nothing(node: Node, trade: Trade) -> None:
    session_id = await trade.open()
    address = Pubkey.from_string(session_id)
    (info,) = await node.accounts([address], commitment=Commitment.PROCESSED)
    assert info is not None
    node.frozen = [replace(info, owner=Keypair().pubkey())]
    await watcher_of(trade).look()
    record = await trade.record(session_id)
    assert (record.state, record.deposit) == (SessionState.ACTIVE, DEPOSIT)


async def test_all_pages_are_read(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retainer_provider.settling.watcher._PAGE", 2)
    sessions = [await trade.open() for _ in range(5)]
    for session_id in sessions:
        await trade.request_close(session_id)
    await watcher_of(trade).look()
    assert {(await trade.record(session_id)).state for session_id in sessions} == {SessionState.CLOSING}


@pytest.mark.row("F25", attack="a clock that goes back", twin="the age is counted as unknown")
async def test_the_view_is_fresh_for_a_third_of_the_grace_period(node: Node, trade: Trade) -> None:
    """F32, F07."""
    view = ChainView()
    watcher = watcher_of(trade, view)
    assert not view.fresh(trade.clock.now(), GRACE), "nothing was seen yet"
    await watcher.look()
    seen = trade.clock.now()
    assert view.fresh(seen, GRACE)
    assert view.fresh(seen + GRACE // 3, GRACE)
    assert not view.fresh(seen + GRACE // 3 + 1, GRACE)
    assert not view.fresh(seen - 1, GRACE), "a clock that went back says nothing about age (F25)"
    node.advance(seconds=GRACE)
    node.behind = round(GRACE / 0.4)
    await watcher.look()
    assert not view.fresh(trade.clock.now(), GRACE), "a node that stands still shows nothing new"
    node.behind = 0
    node.down = True
    with pytest.raises(ChainUnavailableError):
        await watcher.look()
    assert not view.fresh(trade.clock.now(), GRACE)
    node.down = False
    await watcher.look()
    assert view.fresh(trade.clock.now(), GRACE)
