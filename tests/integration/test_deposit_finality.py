"""When a deposit counts: at the level that the settings name, within the cap, whatever a fork takes back."""

from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.amounts import format_amount
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from tests.integration.conftest import Shop, opened_shop, problem
from tests.shop import DEPOSIT, PRICE, self_sent


@pytest.mark.row("F06", attack="a deposit below the commitment that counts", twin="credited at that commitment")
async def test_a_deposit_counts_at_the_commitment_that_the_settings_name(
    mint: Pubkey, chain: FakeChain, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F06: confirmed is not finalized, also for a deposit that the agent sent itself."""
    raw_settings["service"]["commitment"] = "finalized"
    raw_settings["limits"]["deposit_wait_seconds"] = 1
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        for by_agent in (False, True):
            opening = shop.agent.open(await shop.challenge())
            presented = await self_sent(shop.chain, opening) if by_agent else opening
            assert problem(await shop.send(presented.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
            shop.chain.advance(slots=32)
            assert (await shop.send(presented.header)).status_code == 200


@pytest.mark.row(
    "F06",
    attack="a fork takes a confirmed deposit back, deposits counting at finalized",
    twin="a deposit that stays is credited",
)
async def test_a_deposit_that_a_fork_takes_back_before_it_is_final_is_not_credited(
    mint: Pubkey, chain: FakeChain, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F06: at `finalized`, nothing that can vanish is ever credited."""
    raw_settings["service"]["commitment"] = "finalized"
    raw_settings["limits"]["deposit_wait_seconds"] = 1
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await self_sent(shop.chain, shop.agent.open(await shop.challenge()))
        assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
        shop.chain.fork(5)
        shop.chain.advance(slots=64)
        assert problem(await shop.send(opening.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
        assert await shop.ledger.session(str(opening.action.channel_id)) is None


@pytest.mark.row(
    "F06",
    attack="a fork takes back a deposit above what is credited before finality",
    twin="one within it is served at once",
)
async def test_a_deposit_above_the_cap_counts_when_it_is_final(
    mint: Pubkey, chain: FakeChain, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F06: so a fork can cost no more than the cap, whoever sent the deposit."""
    raw_settings["offers"]["standard"]["credit_before_finality"] = format_amount(DEPOSIT - 1, 6)
    raw_settings["limits"]["deposit_wait_seconds"] = 1
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        small = shop.agent.open(await shop.challenge(), deposit=DEPOSIT - 1)
        assert (await shop.send(small.header)).status_code == 200
        shop.chain.advance(slots=40)
        for by_agent in (False, True):
            large = shop.agent.open(await shop.challenge())
            presented = await self_sent(shop.chain, large) if by_agent else large
            assert problem(await shop.send(presented.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
            shop.chain.fork(5)
            shop.chain.advance(slots=64)
            await shop.send(presented.header)
            record = await shop.ledger.session(str(large.action.channel_id))
            assert record is None or record.state is SessionState.PENDING, "it was never credited"
            honest = shop.agent.open(await shop.challenge())
            presented = await self_sent(shop.chain, honest) if by_agent else honest
            assert problem(await shop.send(presented.header)).type == ProblemType.DEPOSIT_UNCONFIRMED
            shop.chain.advance(slots=64)
            assert (await shop.send(presented.header)).status_code == 200


@pytest.mark.row(
    "F06", attack="a fork takes back a deposit that was credited", twin="a session that stays is served on"
)
async def test_a_fork_costs_no_more_than_what_was_credited(shop: Shop) -> None:
    """F06: the session is served nothing from the next look at the chain on."""
    stays = await shop.opened()
    shop.chain.advance(slots=40)
    opening = await shop.opened()
    shop.chain.advance(slots=1)
    assert (await shop.use(opening)).status_code == 200
    shop.chain.fork(20)
    await shop.pace.tick()
    assert problem(await shop.use(opening)).type == ProblemType.CHAIN_UNAVAILABLE
    assert (await shop.use(stays)).status_code == 200
    assert [record.spent for record in await shop.ledger.sessions()] == [PRICE, PRICE]


@pytest.mark.row(
    "F07", attack="a node that answers for a slot before the transaction's", twin="believed once it caught up"
)
async def test_a_lagging_node_is_no_witness_against_a_deposit(shop: Shop) -> None:
    """F07: an answer older than the transaction is no answer."""
    opening = await self_sent(shop.chain, shop.agent.open(await shop.challenge()))
    shop.chain.behind = 1000
    shop.chain.advance(slots=1)
    answer = await shop.send(opening.header)
    assert problem(answer).type in (ProblemType.DEPOSIT_UNCONFIRMED, ProblemType.CHAIN_UNAVAILABLE)
    shop.chain.behind = 0
    assert (await shop.send(opening.header)).status_code == 200
