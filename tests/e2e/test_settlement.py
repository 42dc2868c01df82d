"""Settling on a real validator: one transaction, exact to the unit, found again in the node's history."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from retainer.chain.rpc import RpcChain
from retainer.protocol.constants import PROGRAM_ID, TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.instruction_data import CloseData
from retainer.protocol.session import SessionState
from retainer_provider.settling.removal import RemovalKind, find_removal
from retainer_provider.settling.settler import SettlementOutcome
from retainer_provider.settling.watcher import ChainView, Watcher
from tests.books import DEPOSIT, PRICE
from tests.localnet import LocalValidator
from tests.nodes import program_data
from tests.trading import FUNDS, Trade, trade_at

SPENT = 30 * PRICE


@pytest.fixture(params=[TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID], ids=["spl-token", "token-2022"])
async def trade(
    request: pytest.FixtureRequest, localnet: LocalValidator, chain: RpcChain, tmp_path: Path
) -> AsyncIterator[Trade]:
    program: Pubkey = request.param
    async with trade_at(localnet.rpc_url, chain, tmp_path / "ledger.db", program) as trade:
        yield trade


async def test_thirty_requests_of_one_token_settle_to_the_unit(chain: RpcChain, trade: Trade) -> None:
    session_id = await trade.closing()
    settler = trade.settler(poll_seconds=0.3)
    assert await settler.settle(session_id) is SettlementOutcome.SETTLED
    record = await trade.record(session_id)
    assert (record.state, record.settled, record.refund) == (SessionState.REFUNDED, SPENT, DEPOSIT - SPENT)
    assert await trade.balances() == (SPENT, FUNDS - SPENT)
    assert await trade.account(session_id) is None
    signature = record.settlement_signature or ""
    info = await chain.transaction(signature)
    assert info is not None
    (data,) = program_data(info.raw)
    assert isinstance(data, CloseData)
    assert (data.amount, data.charged_units, data.usage_root) == (SPENT, 30, record.usage_root)
    found = await find_removal(chain, Pubkey.from_string(session_id), PROGRAM_ID)
    assert found is not None
    assert (found.kind, found.signature, found.deposit) == (RemovalKind.CLOSED, signature, DEPOSIT)


async def test_books_that_lost_their_end_find_it_on_the_chain(trade: Trade, tmp_path: Path) -> None:
    """A crash after landing: other books of the same session settle nothing and record what was."""
    session_id = await trade.closing(requests=2)
    async with trade.other_books(tmp_path / "other.db") as behind:
        account = await trade.account(session_id)
        assert account is not None
        await behind.ledger.admit(await behind.opening_of(session_id))
        await behind.ledger.activate(session_id, account, None, behind.clock.now())
        await behind.ledger.begin_close(session_id, "asked", behind.clock.now())
        assert await trade.settler(poll_seconds=0.3).settle(session_id) is SettlementOutcome.SETTLED
        assert await behind.settler(poll_seconds=0.3).settle(session_id) is SettlementOutcome.SETTLED
        assert (await behind.record(session_id)).settlement_signature == (
            await trade.record(session_id)
        ).settlement_signature
        assert await trade.balances() == (2 * PRICE, FUNDS - 2 * PRICE)


async def test_a_payers_exit_is_seen_and_answered_at_once(trade: Trade) -> None:
    session_id = await trade.open(requests=3)
    await trade.top_up(session_id, 500)
    await trade.request_close(session_id)
    view = ChainView()
    watcher = Watcher(chain=trade.chain, ledger=trade.ledger, clock=trade.clock, view=view, exposure=trade.exposure())
    await watcher.look()
    assert view.fresh(trade.clock.now(), 900)
    assert await trade.settler(poll_seconds=0.3).settle(session_id) is SettlementOutcome.SETTLED
    record = await trade.record(session_id)
    assert (record.deposit, record.settled, record.refund) == (DEPOSIT + 500, 3 * PRICE, DEPOSIT + 500 - 3 * PRICE)
