"""F15: a settlement offers more with each try, in bounded steps, and never more than the cap."""

from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.raw import decode_signed
from retainer_provider.settling.closing_transaction import CostPolicy
from retainer_provider.settling.fees import FeePolicy
from retainer_provider.settling.settler import SettlementOutcome
from tests.nodes import Node
from tests.trading import trade_on

PAYEE_TOKEN = Pubkey.default()


async def prices(policy: FeePolicy, chain: FakeChain, tries: int = 6) -> list[int]:
    return [await policy.price(chain, PAYEE_TOKEN, attempt) for attempt in range(tries)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (FeePolicy(), [0, 10_000, 100_000, 1_000_000, 1_000_000, 1_000_000]),
        (FeePolicy(0, cap=0), [0] * 6),
        (FeePolicy(7, cap=50_000), [7, 10_000, 50_000, 50_000, 50_000, 50_000]),
        (FeePolicy(2_000, cap=2_000), [2_000] * 6),
    ],
)
async def test_a_fixed_price_escalates_to_the_cap(policy: FeePolicy, expected: list[int]) -> None:
    assert await prices(policy, FakeChain()) == expected


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        ([], [0, 10_000, 30_000]),  # the node has seen none
        ([0, 0, 0, 400], [400, 10_000, 30_000]),
        ([100, 300, 200, 400, 5_000, 100, 100, 100], [400, 10_000, 30_000]),
        ([2_000] * 150, [2_000, 20_000, 30_000]),
        ([10**12] * 150, [30_000, 30_000, 30_000]),  # whatever a node says (F08)
    ],
)
async def test_the_market_sets_the_first_price_and_the_cap_the_last(recent: list[int], expected: list[int]) -> None:
    chain = FakeChain()
    chain.priority_fees = recent
    assert await prices(FeePolicy(None, cap=30_000), chain, 3) == expected


async def test_a_node_that_does_not_tell_costs_no_settlement() -> None:
    chain = FakeChain()
    chain.down = True
    assert await prices(FeePolicy(None), chain, 2) == [0, 10_000]


async def test_a_settlement_with_every_instruction_stays_small(tmp_path: Path) -> None:
    """Budget, price and the creation of both token accounts: a transaction has 1,232 bytes."""
    node = Node()
    async with trade_on(node, tmp_path / "books.db") as trade:
        session_id = await trade.closing()
        costs = CostPolicy(fees=FeePolicy(5_000), pay_for_accounts=True)
        assert await trade.settler(costs=costs).settle(session_id) is SettlementOutcome.SETTLED
        info = await node.landed((await trade.record(session_id)).settlement_signature or "")
        assert len(decode_signed(info.raw).message.instructions) == 4
        assert len(info.raw) < 700
