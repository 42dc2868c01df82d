"""The books of custodial sessions deleted: transfers and receipts bring back what was spent, and refunds pay once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain, Fate
from retainer.chain.testing import mint_to, token_balance
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import SessionState
from retainer_provider.background import refund_step
from retainer_provider.catalog import load_offers
from retainer_provider.keys import Keys
from retainer_provider.settling.adopting import bring_back
from retainer_provider.settling.held_recovery import HeldRecovery
from retainer_provider.settling.held_search import HeldSearch, known_receipts, outlive_lost_refunds
from retainer_provider.settling.recovery import Finding
from retainer_provider.settling.settler import SettlementOutcome, Settler, SettlerOptions
from tests.custody import carrying, custodial, topping_up, transfer_of
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, opened_shop, problem, receipt
from tests.integration.test_recovery import delete_books
from tests.shop import DEPOSIT, PRICE, Agent, Opening, identity, table
from tests.times import ChainClock

FINAL_SLOTS = 40
MINTER = Keypair.from_seed(b"m" * 32)


@pytest.fixture
def raw_settings(mint: Pubkey) -> dict[str, Any]:
    return custodial(table(mint))


class Lost:
    """A service whose books are gone: what it finds, and how it sends back."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.us = identity(OPERATOR.pubkey())
        self.offers = load_offers(shop.settings.offers)
        self.search = HeldSearch(
            chain=shop.chain, payee=self.us.payee, operator=self.us.operator, offers=[*self.offers.values()]
        )

    async def found(self, *receipts: Receipt) -> dict[str, HeldRecovery]:
        await outlive_lost_refunds(self.shop.chain, self.shop.chain, lambda _: None)
        return {str(one.session): one for one in await self.search.sessions(receipts, lambda _: None)}

    async def bring_back(self, *chosen: HeldRecovery) -> list[SettlementOutcome]:
        shop, clock, options = self.shop, ChainClock(self.shop.chain), SettlerOptions()
        settler = Settler(
            chain=shop.chain,
            ledger=shop.ledger,
            operator=OPERATOR,
            clock=clock,
            timer=shop.chain,
            options=options,
            refund=refund_step(Keys(OPERATOR, [], None, OPERATOR), shop.chain, shop.ledger, clock, options.costs),
        )
        outcomes = await bring_back(
            shop.chain, shop.ledger, settler, chosen, us=self.us, offers=self.offers, now=clock.now()
        )
        return list(outcomes.values())


@asynccontextmanager
async def lost(chain: FakeChain, mint: Pubkey, raw: dict[str, Any], folder: Path) -> AsyncIterator[Lost]:
    """The service on new books, those before deleted."""
    delete_books(folder)
    async with opened_shop(chain, mint, raw, folder) as shop:
        yield Lost(shop)


async def opened(shop: Shop, requests: int) -> tuple[Opening, list[Receipt]]:
    opening = carrying(shop.agent.open(await shop.challenge()))
    assert (await shop.send(opening.header)).status_code == 200
    return opening, [receipt(await shop.use(opening)) for _ in range(requests)]


async def paid(shop: Shop) -> tuple[int, int]:
    """What the agent has paid so far, and what the service has got."""
    held = [await token_balance(shop.chain, owner.pubkey(), shop.mint) for owner in (AGENT, OPERATOR)]
    return TOKENS - held[0], held[1] - TOKENS


def session_of(opening: Opening) -> str:
    return str(opening.action.channel_id)


async def test_what_receipts_prove_is_kept_and_the_rest_sent_back_once(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        (proven, receipts), (silent, _) = await opened(shop, 3), await opened(shop, 2)
        added = topping_up(proven, DEPOSIT // 2, (await chain.latest_blockhash()).blockhash)
        assert (await shop.send(added)).status_code == 200
    async with lost(chain, mint, raw_settings, tmp_path) as after:
        found = await after.found(*receipts)
        mine, other = found[session_of(proven)], found[session_of(silent)]
        assert (mine.finding, mine.deposit, mine.spent) == (Finding.RECOVERED, 3 * DEPOSIT // 2, 3 * PRICE)
        assert (other.finding, other.refundable, other.deposit) == (Finding.UNPROVEN, True, DEPOSIT)
        assert known_receipts(receipts, list(found.values()), after.search) == 3
        assert await after.bring_back(mine) == [SettlementOutcome.SETTLED]
        assert await paid(after.shop) == (3 * PRICE + DEPOSIT, 3 * PRICE + DEPOSIT)
        record = await after.shop.ledger.session(session_of(proven))
        assert record is not None
        assert (record.state, record.settled, record.usage_root) == (
            SessionState.REFUNDED,
            3 * PRICE,
            mine.usage_root,
        )
        again = (await after.found(*receipts))[session_of(proven)]
        assert (again.finding, again.spent) == (Finding.CLOSED, 3 * PRICE)
        # Its agent never shows up, and the operator would rather give everything back.
        assert await after.bring_back(other) == [SettlementOutcome.SETTLED]
        assert await paid(after.shop) == (3 * PRICE, 3 * PRICE)


async def test_a_refund_that_the_lost_books_had_sent_is_not_made_again(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """Nobody remembers that it was signed; it lands after the books are gone."""
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening, receipts = await opened(shop, 2)
        deposit = transfer_of(opening)
    back = replace(
        deposit, sender=OPERATOR.pubkey(), recipient=AGENT.pubkey(), amount=BaseUnits(DEPOSIT - 2 * PRICE)
    ).instruction()
    chain.next_send(Fate.LATE, slots=100)
    await chain.send(Agent(OPERATOR).sign([back], (await chain.latest_blockhash()).blockhash))
    async with lost(chain, mint, raw_settings, tmp_path) as after:
        chain.advance(slots=FINAL_SLOTS)
        [early] = await after.search.sessions(receipts, lambda _: None)
        assert early.finding is Finding.RECOVERED, "a refund made now would be the second"
        [one] = (await after.found(*receipts)).values()
        assert (one.finding, one.spent) == (Finding.CLOSED, 2 * PRICE)
        assert await paid(after.shop) == (2 * PRICE, 2 * PRICE)


async def test_a_transfer_of_lost_books_opens_no_other_session(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    """F01, across the loss: what was adopted is known for ever."""
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening, receipts = await opened(shop, 1)
    async with lost(chain, mint, raw_settings, tmp_path) as after:
        await after.bring_back(*(await after.found(*receipts)).values())
        answer = await after.shop.send(opening.header)
        assert problem(answer).type in (ProblemType.DEPOSIT_REPLAYED, ProblemType.SESSION_CLOSED)
        assert await paid(after.shop) == (PRICE, PRICE)


async def test_neither_strangers_transfers_nor_forged_receipts_count(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    stranger = Keypair.from_seed(b"x" * 32)
    chain.fund(stranger.pubkey())
    await mint_to(chain, MINTER, owner=stranger.pubkey(), mint=mint, amount=TOKENS, clock=chain)
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening, [honest] = await opened(shop, 1)
        gift = transfer_of(opening, sender=stranger.pubkey()).instruction()
        await chain.send(Agent(stranger).sign([gift], (await chain.latest_blockhash()).blockhash))
    lie = structs.replace(honest, spent=BaseUnits(DEPOSIT))
    async with lost(chain, mint, raw_settings, tmp_path) as after:
        [one] = (await after.found(lie)).values()
        assert (one.finding, one.deposit) == (Finding.UNPROVEN, DEPOSIT), "nobody asked for the stranger's"
        assert known_receipts([lie], [one], after.search) == 0


async def test_what_arrived_after_the_refund_is_named(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening, receipts = await opened(shop, 1)
        assert (await shop.send(opening.close())).status_code == 200
        late = carrying(opening, blockhash=(await chain.latest_blockhash()).blockhash, amount=BaseUnits(7))
        assert late.action.transaction is not None
        await chain.send(late.action.transaction)
    async with lost(chain, mint, raw_settings, tmp_path) as after:
        [one] = (await after.found(*receipts)).values()
        assert one.finding is Finding.CONTRADICTED
        assert "7 base units arrived after its refund: send them back by hand" in one.why


async def test_a_node_that_forgot_a_top_up_is_not_believed(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening, _ = await opened(shop, 1)
        added = topping_up(opening, DEPOSIT, (await chain.latest_blockhash()).blockhash)
        assert (await shop.send(added)).status_code == 200
        receipts = [receipt(await shop.use(opening))]
    [top_up, _] = await chain.signatures_for(opening.action.channel_id)
    whole = chain.signatures_for

    async def forgetful(address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        return [one for one in await whole(address, limit=limit, before=before) if one != top_up]

    monkeypatch.setattr(chain, "signatures_for", forgetful)
    async with lost(chain, mint, raw_settings, tmp_path) as after:
        [one] = (await after.found(*receipts)).values()
        assert one.finding is Finding.CONTRADICTED
        assert "ask a node with history" in one.why
