"""Settling by policy on a real validator: missing token accounts, fees and their cap, thresholds, other signers."""

import base64
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retainer.chain.base import TransactionInfo
from retainer.chain.rpc import RpcChain
from retainer.chain.testing import create_ata
from retainer.localnet import airdrop
from retainer.protocol.constants import PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.envelopes import open_envelope
from retainer.protocol.session import SessionState
from retainer_provider.settling.closing_transaction import CloseBuilder, CostPolicy
from retainer_provider.settling.fees import FeePolicy
from retainer_provider.settling.interim import InterimSettler
from retainer_provider.settling.payout import Payout
from retainer_provider.settling.rehearsal import rehearse
from retainer_provider.settling.settler import SettlementOutcome, Settler, SettlerOptions
from retainer_provider.signers import CommandSigner, SigningError
from tests.books import DEPOSIT, PRICE
from tests.localnet import LocalValidator
from tests.token_accounts import FRIEND, close_token_account, create_ata_of_payee, lamports
from tests.trading import FUNDS, OPERATOR, PAYER, Trade, trade_at

SPENT = 30 * PRICE
CAP = 5_000
# Reads a message in base64, prints its signature: what stands for a hardware key.
SIGN = f"""
import base64, sys
from solders.keypair import Keypair
key = Keypair.from_bytes(base64.b64decode("{base64.b64encode(bytes(OPERATOR)).decode()}"))
print(key.sign_message(base64.b64decode(sys.stdin.readline())))
"""


@pytest.fixture
async def trade(localnet: LocalValidator, chain: RpcChain, tmp_path: Path) -> AsyncIterator[Trade]:
    await airdrop(localnet.rpc_url, chain, FRIEND.pubkey(), 1_000_000_000)
    async with trade_at(localnet.rpc_url, chain, tmp_path / "ledger.db", TOKEN_PROGRAM_ID) as trade:
        yield trade


async def landed(trade: Trade, session_id: str) -> TransactionInfo:
    """The transaction that closed the session."""
    info = await trade.chain.transaction((await trade.record(session_id)).settlement_signature or "")
    assert info is not None
    return info


async def test_missing_accounts_are_created_in_the_same_transaction_where_freed_rent_covers_it(trade: Trade) -> None:
    """The payee's and the payer's: rent that comes back to the service's own sponsor pays for the latter."""
    trade.rent_payer = FRIEND
    session_id = await trade.closing()
    await close_token_account(trade)
    assert await trade.chain.account(trade.payer_token) is None
    assert await trade.chain.account(trade.payee_token) is None
    settler = trade.settler(poll_seconds=0.3, costs=CostPolicy(sponsor=FRIEND.pubkey()))
    assert await settler.settle(session_id) is SettlementOutcome.SETTLED
    assert await trade.balances() == (SPENT, DEPOSIT - SPENT)
    assert len(open_envelope((await landed(trade, session_id)).raw).instructions) == 3, "two creations and the close"


async def test_where_it_does_not_the_payee_is_paid_and_the_rest_left_to_the_payer(trade: Trade) -> None:
    session_id = await trade.closing()
    await trade.run([create_ata_of_payee(trade)], PAYER)
    await close_token_account(trade)
    before = await lamports(trade.chain, OPERATOR.pubkey())
    settler = trade.settler(poll_seconds=0.3)
    assert await settler.settle(session_id) is SettlementOutcome.REFUND_BLOCKED
    account = await trade.account(session_id)
    assert account is not None
    assert (account.settled, account.deposit) == (SPENT, DEPOSIT)
    assert before - await lamports(trade.chain, OPERATOR.pubkey()) < 10_000, "one fee, and no rent"
    await create_ata(trade.chain, PAYER, owner=PAYER.pubkey(), mint=trade.mint, clock=trade.timer)
    assert await settler.settle(session_id) is SettlementOutcome.SETTLED
    assert await trade.balances() == (SPENT, DEPOSIT - SPENT)


@pytest.mark.parametrize(("first", "offered"), [(0, 0), (700, 700), (10**9, CAP)], ids=["none", "first", "capped"])
async def test_what_is_offered_for_priority_lands_and_is_capped(trade: Trade, first: int, offered: int) -> None:
    session_id = await trade.closing(requests=2)
    costs = CostPolicy(fees=FeePolicy(first=first, cap=CAP))
    assert await trade.settler(poll_seconds=0.3, costs=costs).settle(session_id) is SettlementOutcome.SETTLED
    info = await landed(trade, session_id)
    envelope = open_envelope(info.raw)
    assert envelope.budget.price == offered
    assert info.fee <= envelope.max_fee


async def test_a_dry_run_sends_nothing_and_says_what_settling_then_does(trade: Trade) -> None:
    session_id = await trade.open(requests=30)
    builder = CloseBuilder(trade.chain, OPERATOR, PROGRAM_ID, CostPolicy())
    before = await lamports(trade.chain, OPERATOR.pubkey())
    would = await rehearse(trade.chain, trade.ledger, builder, PROGRAM_ID, await trade.record(session_id))
    assert (would.obstacle, await lamports(trade.chain, OPERATOR.pubkey())) == (None, before)
    assert would.plan is not None
    assert (would.plan.amount, would.plan.refund) == (SPENT, DEPOSIT - SPENT)
    assert (await trade.record(session_id)).state is SessionState.ACTIVE
    await trade.ledger.begin_close(session_id, "asked", trade.clock.now())
    assert await trade.settler(poll_seconds=0.3).settle(session_id) is SettlementOutcome.SETTLED
    info = await landed(trade, session_id)
    assert (len(info.raw), info.compute_units) == (would.size, would.compute_units)


@pytest.mark.parametrize(("limit", "paid"), [(SPENT - 1, SPENT), (SPENT, 0)], ids=["above", "at"])
async def test_what_exceeds_the_threshold_is_settled_without_a_close(trade: Trade, limit: int, paid: int) -> None:
    session_id = await trade.open(requests=30)
    await trade.run([create_ata_of_payee(trade)], PAYER)
    builder = CloseBuilder(trade.chain, OPERATOR, PROGRAM_ID, CostPolicy())
    payout = Payout(chain=trade.chain, builder=builder, timer=trade.timer)
    interim = InterimSettler(chain=trade.chain, ledger=trade.ledger, payout=payout, limits={"basic": limit})
    await interim.look()
    assert await trade.balances() == (paid, FUNDS - DEPOSIT)
    assert (await trade.record(session_id)).state is SessionState.ACTIVE


async def test_a_command_signs_and_a_wrong_one_sends_nothing(trade: Trade) -> None:
    session_id = await trade.closing(requests=3)
    good = CommandSigner([sys.executable, "-c", SIGN], OPERATOR.pubkey(), timeout=20)
    wrong = CommandSigner([sys.executable, "-c", SIGN], PAYER.pubkey(), timeout=20)
    with pytest.raises(SigningError, match="another key"):
        wrong.sign_message(b"x")
    for signer, outcome in ((wrong, SettlementOutcome.UNDER_WAY), (good, SettlementOutcome.SETTLED)):
        settler = Settler(
            chain=trade.chain,
            ledger=trade.ledger,
            operator=signer,
            clock=trade.clock,
            timer=trade.timer,
            options=SettlerOptions(poll_seconds=0.3),
        )
        assert await settler.settle(session_id) is outcome
    assert await trade.balances() == (3 * PRICE, FUNDS - 3 * PRICE)
