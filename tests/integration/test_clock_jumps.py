"""The machine's clock jumps by an hour under live sessions: selling may pause, and no sum is wrong (F25)."""

from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.testing import token_balance
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, problem, receipt
from tests.shop import PRICE, table

HOUR = 3600


@pytest.fixture
def raw_settings(mint: Pubkey) -> dict[str, Any]:
    """Sessions that no jump makes idle: an idle one is closed, which pays and refunds like any close."""
    settings = table(mint)
    settings["offers"]["standard"]["idle_timeout"] = 48 * HOUR
    return settings


async def look(shop: Shop) -> None:
    """The chain goes on, and the watcher sees it."""
    shop.chain.advance(slots=1)
    await shop.pace.tick()


@pytest.mark.row(
    "F25", attack="the machine's clock jumps by an hour, either way", twin="sold on once the chain is seen"
)
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_nothing_is_sold_until_the_chain_is_seen_again_and_then_all_goes_on(shop: Shop, jump: int) -> None:
    """F25: the age of the view is not known any more; everything that is counted is counted monotonically."""
    opening = await shop.opened()
    assert (await shop.use(opening)).status_code == 200
    shop.clock.ahead = jump
    refused = await shop.use(opening)
    assert problem(refused).type == ProblemType.CHAIN_UNAVAILABLE
    assert refused.headers["retry-after"]
    await look(shop)
    sold = await shop.use(opening)
    told = receipt(sold).retainer
    assert told is not None
    assert told.metered is not None
    assert (sold.status_code, receipt(sold).spent, told.metered.charged) == (200, 2 * PRICE, True)
    shop.clock.ahead = 0
    await look(shop)
    assert receipt(await shop.use(opening)).spent == 3 * PRICE


@pytest.mark.row("F25", attack="a settlement while the clock is an hour off, either way", twin="exact to the unit")
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_settlement_is_exact_whatever_the_machine_believes_the_time_is(shop: Shop, jump: int) -> None:
    """F25: the deadline that money depends on is the chain's own, and the program's to enforce."""
    before = await token_balance(shop.chain, OPERATOR.pubkey(), shop.mint)
    opening = await shop.opened()
    await shop.use(opening)
    shop.clock.ahead = jump
    closed = await shop.send(opening.close())
    assert closed.status_code == 200, closed.text
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    assert (record.state, record.settled) == (SessionState.REFUNDED, PRICE)
    assert await token_balance(shop.chain, OPERATOR.pubkey(), shop.mint) == before + PRICE
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - PRICE


@pytest.mark.row("F25", attack="a clock that is a day ahead", twin="what looks expired is settled and refunded")
async def test_a_clock_a_day_ahead_ends_sessions_early_and_loses_nobody_anything(shop: Shop) -> None:
    """F25: what looks expired is settled and refunded, as if it were."""
    opening = await shop.opened()
    await shop.use(opening)
    shop.clock.ahead = 25 * HOUR
    await look(shop)
    refused = problem(await shop.use(opening))
    assert refused.type in {ProblemType.SESSION_EXPIRED, ProblemType.SESSION_CLOSING, ProblemType.SESSION_CLOSED}
    closed = await shop.send(opening.close())
    assert closed.status_code == 200, closed.text
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - PRICE
