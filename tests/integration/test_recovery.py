"""The books deleted under live sessions: chain and proofs bring back what was spent, down to the base unit."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.testing import token_balance
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import SessionState
from retainer.protocol.vouchers import SignedVoucher, Voucher, sign_voucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.catalog import load_offers
from retainer_provider.settling.adopting import adoption_of, bring_back, lost_sessions
from retainer_provider.settling.recovery import Finding, Recovery
from retainer_provider.settling.settler import SettlementOutcome, Settler, SettlerOptions
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, opened_shop, receipt
from tests.shop import DEPOSIT, PRICE, SIGNER, Opening, identity
from tests.times import ChainClock

FINAL_SLOTS = 40


async def used(shop: Shop, opening: Opening, requests: int) -> list[Receipt]:
    """What an agent of a metered session has in hand after so many requests."""
    return [receipt(await shop.use(opening, key=f"key-{number}")) for number in range(requests)]


def delete_books(folder: Path) -> None:
    for file in folder.glob("retainer.sqlite*"):
        file.unlink()


async def looked(
    chain: FakeChain, receipts: list[Receipt], vouchers: list[SignedVoucher] | None = None
) -> dict[str, Recovery]:
    chain.advance(slots=FINAL_SLOTS)
    found, _ = await lost_sessions(chain, OPERATOR.pubkey(), PROGRAM_ID, receipts, vouchers or [])
    return {str(one.session): one for one in found}


async def brought_back(
    chain: FakeChain, ledger: Ledger, shop: Shop, chosen: list[Recovery]
) -> dict[Pubkey, SettlementOutcome]:
    clock = ChainClock(chain)
    settler = Settler(chain=chain, ledger=ledger, operator=OPERATOR, clock=clock, timer=chain, options=SettlerOptions())
    offers = load_offers(shop.settings.offers)
    us = identity(OPERATOR.pubkey())
    return await bring_back(chain, ledger, settler, chosen, us=us, offers=offers, now=clock.now())


async def test_metered_sessions_come_back_with_their_receipts_and_the_rest_is_left_alone(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        proven, silent, unused = [await shop.opened() for _ in range(3)]
        receipts = await used(shop, proven, 3)
        await used(shop, silent, 2)
    delete_books(tmp_path)
    found = await looked(chain, receipts)
    ids = [str(one.action.channel_id) for one in (proven, silent, unused)]
    assert [found[one].finding for one in ids] == [Finding.RECOVERED, Finding.UNPROVEN, Finding.UNPROVEN]
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        earned = await token_balance(chain, OPERATOR.pubkey(), mint)
        outcomes = await brought_back(chain, shop.ledger, shop, [found[ids[0]]])
        assert list(outcomes.values()) == [SettlementOutcome.SETTLED]
        record = await shop.ledger.session(ids[0])
        assert record is not None
        assert (record.state, record.settled, record.refund) == (
            SessionState.REFUNDED,
            3 * PRICE,
            DEPOSIT - 3 * PRICE,
        )
        assert record.usage_root == found[ids[0]].usage_root != bytes(32)
        assert await token_balance(chain, OPERATOR.pubkey(), mint) - earned == 3 * PRICE
        assert await token_balance(chain, AGENT.pubkey(), mint) == TOKENS - 2 * DEPOSIT - 3 * PRICE
        assert sorted(await looked(chain, receipts)) == sorted(ids[1:])
        # Nobody proves a charge of these, and the operator would rather give the money back at once.
        rest = [found[one] for one in ids[1:]]
        assert all(one.refundable for one in rest)
        await brought_back(chain, shop.ledger, shop, rest)
        assert await token_balance(chain, AGENT.pubkey(), mint) == TOKENS - 3 * PRICE


@pytest.mark.parametrize("vouched", [0, 2, 3, 5], ids=["without", "for less", "for all", "for more"])
async def test_a_session_of_vouchers_comes_back_up_to_its_voucher(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path, vouched: int
) -> None:
    raw_settings["offers"]["standard"]["voucher_signer"] = "client"
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        receipts = [receipt(await shop.send(opening.paying(number * PRICE))) for number in (1, 2, 3)]
    delete_books(tmp_path)
    session = opening.action.channel_id
    vouchers = [sign_voucher(Voucher(session, BaseUnits(vouched * PRICE)), SIGNER)] if vouched else []
    [found] = (await looked(chain, receipts, vouchers)).values()
    if not vouched:
        assert found.finding is Finding.UNPROVEN
        return
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        await brought_back(chain, shop.ledger, shop, [found])
    paid = min(vouched, 3) * PRICE
    assert await token_balance(chain, AGENT.pubkey(), mint) == TOKENS - paid
    assert await token_balance(chain, OPERATOR.pubkey(), mint) == TOKENS + paid


async def test_what_was_adopted_and_not_settled_is_settled_by_the_service(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        receipts = await used(shop, opening, 2)
    delete_books(tmp_path)
    [found] = (await looked(chain, receipts)).values()
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        adoption = adoption_of(found, TOKEN_PROGRAM_ID, load_offers(shop.settings.offers), shop.clock.now())
        await shop.ledger.adopt(adoption)
        refused = await shop.use(opening)
        assert refused.status_code != 200, "what its keys would replay is lost, so nothing is sold from it"
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        assert (await shop.settled(opening)).settled == 2 * PRICE


async def test_a_lie_in_a_receipt_moves_nothing(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        [honest] = await used(shop, opening, 1)
    chain.advance(slots=FINAL_SLOTS)
    lie = structs.replace(honest, spent=BaseUnits(DEPOSIT))
    found, worthless = await lost_sessions(chain, OPERATOR.pubkey(), PROGRAM_ID, [lie], [])
    assert ([one.finding for one in found], worthless) == ([Finding.UNPROVEN], 1)
