"""Deposits that a fork takes back: every session comes to an end, whatever the fork left of it (F06)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.chain.base import Commitment
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.session import SessionAccount, SessionState
from retainer.protocol.vouchers import SignedVoucher, Voucher
from retainer_provider.settling.settlement import Mismatch, plan_settlement
from retainer_provider.settling.settler import SettlementOutcome
from tests.books import DEPOSIT, PRICE, account_of, ask, key, new_session, record_of
from tests.nodes import Node
from tests.trading import FUNDS, Trade, trade_on


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def trade(node: Node, tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        node.advance(slots=40)
        yield trade


async def topped_up(node: Node, trade: Trade, *, requests: int) -> str:
    """A final session of 125 requests, topped up by as much before a fork takes that back, with so many served."""
    session_id = await trade.open()
    node.advance(slots=40)
    await trade.top_up(session_id, DEPOSIT)
    await trade.ledger.update_deposit(session_id, 2 * DEPOSIT, trade.clock.now())
    for number in range(requests):
        await ask(trade.ledger, session_id, f"{number}")
    node.fork(10)
    node.advance(slots=40)
    await trade.ledger.begin_close(session_id, "asked", trade.clock.now())
    return session_id


@pytest.mark.parametrize(("requests", "paid"), [(30, 30), (125, 125), (200, 125), (0, 0)])
@pytest.mark.row("F06", attack="a fork takes a top-up back that was spent", twin="paid as far as the deposit goes")
async def test_a_session_whose_top_up_vanished_is_settled(node: Node, trade: Trade, requests: int, paid: int) -> None:
    """F06: the payee loses what was credited before it was final, at most, and the payer nothing."""
    session_id = await topped_up(node, trade, requests=requests)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    assert await trade.balances() == (paid * PRICE, FUNDS - paid * PRICE)
    record = await trade.record(session_id)
    assert (record.state, record.settled) == (SessionState.REFUNDED, paid * PRICE)


async def test_a_top_up_that_lands_again_is_settled_in_full(node: Node, trade: Trade) -> None:
    """F06: nothing is decided before it could."""
    session_id = await topped_up(node, trade, requests=200)
    settling = asyncio.create_task(trade.settler().settle(session_id))
    for _ in range(20):  # a few looks, each of which leaves it for later
        await asyncio.sleep(0)
    assert not settling.done()
    await trade.top_up(session_id, DEPOSIT)
    node.advance(slots=40)
    assert await settling is SettlementOutcome.SETTLED
    assert await trade.balances() == (200 * PRICE, FUNDS - 200 * PRICE)


@pytest.mark.row("F06", attack="a fork takes an opening back for good", twin="the session ends, nobody is paid twice")
async def test_a_session_whose_opening_vanished_comes_to_an_end(node: Node, trade: Trade) -> None:
    """F06: as soon as its address can never be opened again; until then it may land after all."""
    session_id = await trade.closing(requests=30)
    node.fork(10)
    node.advance(slots=40)
    assert await trade.settler().settle(session_id) is SettlementOutcome.UNDER_WAY
    node.advance(slots=OPEN_SLOT_WINDOW)
    assert await trade.settler().settle(session_id) is SettlementOutcome.VANISHED
    record = await trade.record(session_id)
    assert (record.state, record.settled, record.refund) == (SessionState.REFUNDED, 0, DEPOSIT)
    assert record.settlement_signature is None
    assert await trade.balances() == (0, FUNDS)
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED


async def test_an_opening_that_lands_again_is_settled_as_if_it_had_stayed(
    node: Node, trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F06: the account says another time of opening than the books."""
    sent, send = list[bytes](), node.send

    async def sending(raw: bytes) -> str:
        sent.append(raw)
        node.advance(slots=2)
        return await send(raw)

    monkeypatch.setattr(node, "send", sending)
    session_id = await trade.closing(requests=30)
    opened_at = (await trade.record(session_id)).opened_at
    for slots in range(1, 20):  # no further than its landing: the transaction's blockhash stays
        node.fork(slots)
        if await trade.account(session_id) is None:
            break
    node.advance(slots=20)
    await node.send(sent[-1])
    node.advance(slots=40)
    account = await trade.account(session_id)
    assert account is not None
    assert account.opened_at != opened_at
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED
    assert await trade.balances() == (30 * PRICE, FUNDS - 30 * PRICE)
    assert (await trade.record(session_id)).opened_at == account.opened_at


@pytest.mark.row("F06", attack="a node that lost its history", twin="a session that lived is never taken for vanished")
async def test_a_session_that_lived_is_not_taken_for_one_that_vanished(node: Node, trade: Trade) -> None:
    session_id = await trade.closing(requests=30)
    node.advance(slots=OPEN_SLOT_WINDOW + 40)
    node.gone.add(Pubkey.from_string(session_id))
    assert await trade.settler().settle(session_id) is SettlementOutcome.UNDER_WAY, "its opening is in the history"
    node.denies = True
    node.advance(seconds=3 * 24 * 3600)
    assert await trade.settler().settle(session_id) is SettlementOutcome.UNDER_WAY, "no node remembers so long"
    node.gone.clear()
    node.denies = False
    assert await trade.settler().settle(session_id) is SettlementOutcome.SETTLED


def test_what_a_fork_left_pays_whole_units_only() -> None:
    new = new_session()
    record = record_of(new, spent=100 * PRICE, units_charged=100)
    left = account_of(new, deposit=BaseUnits(50 * PRICE + 1))
    assert isinstance(plan_settlement(record, left), Mismatch), "unless the finalized chain says so"
    plan = plan_settlement(record, left, after_fork=True)
    assert not isinstance(plan, Mismatch)
    assert (plan.amount, plan.charged_units, plan.refund) == (50 * PRICE, 50, DEPOSIT - 50 * PRICE)


def test_a_voucher_above_what_a_fork_left_authorizes_nothing() -> None:
    """The program refuses it; what was settled before stays settled."""
    new = new_session()
    voucher = Voucher(key("session"), BaseUnits(60 * PRICE))
    signed = SignedVoucher(voucher, key("agent"), Signature.default())
    record = record_of(new, spent=60 * PRICE, units_charged=60, accepted=BaseUnits(60 * PRICE), voucher=signed)
    left = account_of(new, deposit=BaseUnits(50 * PRICE), settled=BaseUnits(10 * PRICE), charged_units=10)
    plan = plan_settlement(record, left, after_fork=True)
    assert not isinstance(plan, Mismatch)
    assert (plan.amount, plan.charged_units) == (10 * PRICE, 10)
    within = plan_settlement(record, replace(left, deposit=BaseUnits(60 * PRICE)), after_fork=True)
    assert not isinstance(within, Mismatch)
    assert within.amount == 60 * PRICE


@pytest.mark.parametrize(
    ("signer", "cap", "level"),
    [
        ("operator", DEPOSIT, Commitment.CONFIRMED),
        ("operator", DEPOSIT - 1, Commitment.FINALIZED),
        ("agent", 2 * DEPOSIT, Commitment.CONFIRMED),
        ("agent", 2 * DEPOSIT - 1, Commitment.FINALIZED),
    ],
)
async def test_a_top_up_puts_all_vouchers_before_it_at_risk(
    trade: Trade, monkeypatch: pytest.MonkeyPatch, signer: str, cap: int, level: Commitment
) -> None:
    """F06: should it vanish, the program takes no voucher above what is left; so the cap is about the whole deposit."""

    async def final(*_: object, **__: object) -> SessionAccount:
        return account_of(new_session(authorized_signer=key(signer)))

    monkeypatch.setattr("retainer_provider.exposure.session_account", final)
    assert await trade.exposure(cap).level(key("session"), 2 * DEPOSIT, "basic") is level
