"""What a page says when the money that arrives is not what its invoice asked for, or arrives late, or twice."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from solders.transaction import Transaction

from retainer.chain.errors import TransactionRefusedError
from tests.browser_wallet import BrowserWallet, with_deposit, with_price
from tests.e2e.panel.conftest import DEPOSIT, Shop, opened
from tools.panel import PRICE

pytestmark = pytest.mark.asyncio(loop_scope="module")
FUNDS = 5_000_000
TOO_LITTLE = 50_000  # the offer takes 0.1 at least


async def test_an_underpaid_deposit_says_how_much_came_and_where_to_get_it_back(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.sending_wallet())
    wallet.alter = with_deposit(TOO_LITTLE)
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.reads("Too little arrived", "0.05 TEST of 1.0 TEST arrived")
    assert await shop.paid(wallet.keypair, FUNDS) == TOO_LITTLE
    way_out = guest.visitor.page.locator(".sheet").get_by_role("link")
    await expect(way_out).to_have_attribute("href", "./exit.html")

    await guest.visitor.button("Fund a session").click()
    await expect(guest.visitor.page.get_by_role("heading", name="Too little arrived")).to_be_focused()

    await guest.visitor.button("Begin anew").click()
    wallet.alter = None
    await guest.fund()
    await guest.visitor.sees(state="active", balance="1.0 TEST")


async def test_a_deposit_on_other_terms_is_rejected_with_its_reason(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.sending_wallet())
    wallet.alter = with_price(PRICE // 2)
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.reads("The payment was not accepted")
    said = await guest.visitor.page.locator(".sheet").inner_text()
    assert "commits to 0.004 per request" in said, said
    await expect(guest.visitor.page.locator(".sheet").get_by_role("link")).to_have_attribute("href", "./exit.html")


async def test_less_than_invoiced_and_enough_for_the_offer_opens_a_smaller_session(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.sending_wallet())
    wallet.alter = with_deposit(DEPOSIT // 2)
    await guest.fund()
    await guest.visitor.sees(state="active", balance="0.5 TEST", asks="62")


async def test_an_opening_that_is_paid_twice_costs_once(shop: Shop) -> None:
    """All transactions of one invoice open the same address: the second one fails, and moves nothing."""
    guest = await shop.visit(wallet := await shop.sending_wallet())
    wallet.send = lambda raw: _twice(shop, wallet, raw)
    await guest.fund()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    assert await shop.paid(wallet.keypair, FUNDS) == DEPOSIT


async def test_a_top_up_that_is_paid_twice_is_credited_twice(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.sending_wallet())
    await guest.fund()
    wallet.send = lambda raw: _twice(shop, wallet, raw)
    await guest.visitor.button("Top up").click()
    await guest.visitor.order("0.5")
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="2.0 TEST")
    assert await shop.paid(wallet.keypair, FUNDS) == 2 * DEPOSIT


async def _twice(shop: Shop, wallet: BrowserWallet, raw: bytes) -> None:
    """Send a transaction, and the same once more as a new one, which the network may refuse."""
    chain = shop.stood.chain
    first = Transaction.from_bytes(raw)
    await chain.send(raw)
    await shop.stood.until_final(str(first.signatures[0]))
    with contextlib.suppress(TransactionRefusedError):
        await chain.send(await _anew(shop, wallet, raw))


async def _anew(shop: Shop, wallet: BrowserWallet, raw: bytes) -> bytes:
    """The same transaction with a fresh blockhash."""
    message, latest = Transaction.from_bytes(raw).message, await shop.stood.chain.latest_blockhash()
    return bytes(Transaction([wallet.keypair], message, latest.blockhash))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty_shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One whose invoices are over after half a minute, which is the least that a provider can set."""
    async with opened(tmp_path_factory.mktemp("hasty"), browser, service={"challenge_ttl": 30}) as running:
        yield running


async def test_an_invoice_expires_and_what_arrives_late_all_the_same_is_found(hasty_shop: Shop) -> None:
    """A wallet that takes its time: it sends after the page said that the invoice is over."""
    shop = hasty_shop
    wallet, held = await shop.holding_wallet()
    guest = await shop.visit(wallet)
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await expect(guest.visitor.page.get_by_role("heading", name="This invoice is over")).to_be_visible(timeout=60_000)
    await guest.reads("Nothing arrived in time")
    await shop.stood.chain.send(await _anew(shop, wallet, held[0]))
    await guest.visitor.sees(state="active", balance="1.0 TEST")
