"""What payers do while their session is being settled: leave, top up, close or give away their token account."""

import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from retainer.chain.base import Commitment
from retainer.chain.sessions import session_account
from retainer.chain.testing import create_ata, token_balance
from retainer.protocol.session import SessionState
from retainer_provider.settling.closing_transaction import CostPolicy
from retainer_provider.settling.settler import SettlementOutcome
from tests.books import DEPOSIT, GRACE, PRICE
from tests.nodes import Node
from tests.token_accounts import (
    FRIEND,
    close_token_account,
    create_ata_of_payee,
    give_away,
    lamports,
    take_back,
    token_instruction,
)
from tests.trading import FUNDS, OPERATOR, PAYER, Trade, trade_on

SPENT = 30 * PRICE


@pytest.fixture
def node() -> Node:
    node = Node()
    node.fund(FRIEND.pubkey())
    return node


@pytest.fixture
async def trade(node: Node, tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        yield trade


@pytest.mark.parametrize("paying", ["rent comes back to the sponsor", "operator pays in any case"])
async def test_a_payer_without_token_account_gets_a_new_one(node: Node, trade: Trade, paying: str) -> None:
    """C07: at the operator's cost, which the rent that goes back to its sponsor makes up for, or which it bears."""
    if paying == "operator pays in any case":
        costs = CostPolicy(pay_for_accounts=True)
    else:
        trade.rent_payer, costs = FRIEND, CostPolicy(sponsor=FRIEND.pubkey())
    before = await lamports(node, OPERATOR.pubkey())
    session_id = await trade.closing()
    await close_token_account(trade)
    assert await node.account(trade.payer_token) is None
    assert await trade.settler(costs=costs).settle(session_id) is SettlementOutcome.SETTLED
    assert await trade.balances() == (SPENT, DEPOSIT - SPENT)
    assert (await trade.record(session_id)).refund == DEPOSIT - SPENT
    spent = before - await lamports(node, OPERATOR.pubkey())
    accounts = 2 * await node.minimum_balance(165)  # the payee's as well, which has none yet
    assert accounts < spent < accounts + 20_000, "and fees"


async def test_a_payer_that_closes_its_account_earns_nothing_by_it(node: Node, trade: Trade) -> None:
    """C07: the freed rent is the payer's, so a new account would be a gift of rent. The payee is paid all the same."""
    session_id = await trade.closing()
    await trade.run([create_ata_of_payee(trade)], PAYER)
    await close_token_account(trade)
    before = await lamports(node, OPERATOR.pubkey())
    settler = trade.settler()
    assert await settler.settle(session_id) is SettlementOutcome.REFUND_BLOCKED
    assert await token_balance(node, OPERATOR.pubkey(), trade.mint) == SPENT
    assert await settler.settle(session_id) is SettlementOutcome.REFUND_BLOCKED
    assert before - await lamports(node, OPERATOR.pubkey()) < 10_000, "one fee"
    assert await node.account(trade.payer_token) is None
    await create_ata(node, PAYER, owner=PAYER.pubkey(), mint=trade.mint, clock=node)
    assert await settler.settle(session_id) is SettlementOutcome.SETTLED
    assert await trade.balances() == (SPENT, DEPOSIT - SPENT)


async def test_a_payer_that_blocks_its_refund_delays_only_that(node: Node, trade: Trade) -> None:
    """The payee is paid at once; the refund leaves by the payer's own withdrawal, and the books balance."""
    session_id = await trade.closing()
    await give_away(trade)
    settler = trade.settler()
    assert await settler.settle(session_id) is SettlementOutcome.REFUND_BLOCKED
    assert await token_balance(node, OPERATOR.pubkey(), trade.mint) == SPENT
    account = await trade.account(session_id)
    assert account is not None
    assert (account.settled, account.charged_units) == (SPENT, 30)
    sent = len(node.sent)
    assert await settler.settle(session_id) is SettlementOutcome.REFUND_BLOCKED
    assert len(node.sent) == sent, "paid is paid"
    await trade.request_close(session_id)
    node.advance(seconds=GRACE + 1)
    assert await settler.settle(session_id) is SettlementOutcome.REFUND_BLOCKED
    await take_back(trade)
    await trade.withdraw(session_id)
    node.advance(slots=40)
    assert await settler.settle(session_id) is SettlementOutcome.WITHDRAWN
    record = await trade.record(session_id)
    assert (record.settled, record.refund) == (SPENT, DEPOSIT - SPENT)


async def test_a_session_withdrawn_before_it_was_settled_is_recorded_as_such(node: Node, trade: Trade) -> None:
    session_id = await trade.closing()
    await trade.request_close(session_id)
    node.advance(seconds=GRACE + 1)
    signature = await trade.withdraw(session_id)
    assert await trade.settler().settle(session_id) is SettlementOutcome.UNDER_WAY, "not final yet"
    node.advance(slots=40)
    assert await trade.settler().settle(session_id) is SettlementOutcome.WITHDRAWN
    record = await trade.record(session_id)
    assert (record.state, record.settled, record.refund) == (SessionState.REFUNDED, 0, DEPOSIT)
    assert (record.settlement_signature, record.spent) == (signature, SPENT)
    assert await trade.balances() == (0, FUNDS)


async def test_a_settlement_that_never_landed_before_the_deadline_ends_with_the_withdrawal(
    node: Node, trade: Trade
) -> None:
    session_id = await trade.closing()
    await trade.request_close(session_id)
    node.drops = lambda _signature: True
    assert await trade.settler(poll_seconds=20.0).settle(session_id) is SettlementOutcome.TOO_LATE
    assert (await trade.settlement(session_id)).attempts > 1
    node.drops = lambda _signature: False
    await trade.withdraw(session_id)
    node.advance(slots=40)
    assert await trade.settler().settle(session_id) is SettlementOutcome.WITHDRAWN
    record = await trade.record(session_id)
    assert (record.settled, record.refund) == (0, DEPOSIT)
    assert await trade.balances() == (0, FUNDS)


async def test_an_unseen_top_up_is_refunded(trade: Trade) -> None:
    session_id = await trade.closing()
    await trade.top_up(session_id, 500)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    record = await trade.record(session_id)
    assert (record.deposit, record.settled, record.refund) == (DEPOSIT + 500, SPENT, DEPOSIT + 500 - SPENT)
    assert await trade.balances() == (SPENT, FUNDS - SPENT)


async def test_a_top_up_between_signing_and_landing_is_refunded(node: Node, trade: Trade) -> None:
    session_id = await trade.closing()
    topped_up: list[str] = []

    async def top_up_first(signature: str) -> None:
        node.before_send = None
        topped_up.append(signature)
        await trade.top_up(session_id, 700)

    node.before_send = top_up_first
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    assert topped_up
    record = await trade.record(session_id)
    assert (record.deposit, record.settled, record.refund) == (DEPOSIT + 700, SPENT, DEPOSIT + 700 - SPENT)
    assert await trade.balances() == (SPENT, FUNDS - SPENT)


async def test_tokens_of_strangers_go_to_the_payer_and_not_into_the_books(node: Node, trade: Trade) -> None:
    """C14: dust is no deposit."""
    session_id = await trade.closing()
    record = await trade.record(session_id)
    dust = token_instruction(trade, bytes([3]) + struct.pack("<Q", 5), record.escrow)
    await trade.run([dust], PAYER)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    record = await trade.record(session_id)
    assert (record.deposit, record.settled, record.refund) == (DEPOSIT, SPENT, DEPOSIT - SPENT)
    assert await trade.balances() == (SPENT, FUNDS - SPENT)
    assert await session_account(node, Pubkey.from_string(session_id), commitment=Commitment.FINALIZED) is None


async def test_books_behind_the_chain_are_never_settled(trade: Trade) -> None:
    """A ledger restored from an old backup must not settle less than was settled."""
    session_id = await trade.closing(requests=2)
    account = await trade.account(session_id)
    assert account is not None
    await trade.pay_out(session_id, 3)
    assert await trade.settler().settle(session_id) is SettlementOutcome.MISMATCH
    assert (await trade.record(session_id)).state is SessionState.CLOSING


async def test_what_is_not_closing_is_not_settled(trade: Trade) -> None:
    session_id = await trade.open(requests=1)
    assert await trade.settler().settle(session_id) is SettlementOutcome.NOT_CLOSING
    assert await trade.settler().settle("unheard of") is SettlementOutcome.NOT_CLOSING
    assert await trade.account(session_id) is not None
