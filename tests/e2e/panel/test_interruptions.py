"""Tabs that close, providers that die, and sessions that ended elsewhere: nothing that was paid is lost."""

import asyncio
import json

import pytest
from playwright.async_api import expect

from tests.e2e.panel.conftest import DEPOSIT, Guest, Shop
from tools import panel
from tools.evidence.visitor import Visitor
from tools.panel import PRICE

pytestmark = pytest.mark.asyncio(loop_scope="module")
FUNDS = 5_000_000


async def test_a_tab_that_closes_between_signing_and_activation_loses_nothing(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.sending_wallet())
    clicked, sent = asyncio.Event(), asyncio.Event()

    async def close_the_tab(raw: bytes) -> None:
        await clicked.wait()  # a click that has not ended when its page goes counts as failed
        await guest.visitor.page.close()
        await shop.stood.chain.send(raw)
        sent.set()

    wallet.send = close_the_tab
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    clicked.set()
    await sent.wait()
    again = Visitor(await guest.context.new_page())
    await again.visit(panel.address(shop.stood))
    await again.sees(state="active", balance="1.0 TEST")
    assert await shop.paid(wallet.keypair, FUNDS) == DEPOSIT


async def test_what_a_wallet_sends_itself_shows_as_soon_as_it_counts(shop: Shop) -> None:
    """No second payment can be clicked meanwhile: what the wallet said it sent shows as seen at once."""
    wallet, held = await shop.holding_wallet()
    guest = await shop.visit(wallet)
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await _seen_then_sent(shop, guest, held)
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    await guest.visitor.button("Top up").click()
    await guest.visitor.order("0.5")
    await guest.choose_wallet()
    await _seen_then_sent(shop, guest, held)
    await guest.visitor.sees(state="active", balance="1.5 TEST")


async def _seen_then_sent(shop: Shop, guest: Guest, held: list[bytes]) -> None:
    await guest.reads("Payment seen")
    await expect(guest.visitor.button("Pay with")).to_have_count(0)
    await shop.stood.chain.send(held.pop())


async def test_a_provider_that_dies_and_comes_back_finds_everything_as_it_was(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.wallet())
    await guest.fund()
    await guest.visitor.ask("Before?")
    await shop.stood.service.kill()
    await guest.visitor.sees(state="offline")
    await guest.reads("The provider does not answer.", "take your money back without it")
    await guest.visitor.page.get_by_label("Your question").fill("Meanwhile?")
    await guest.visitor.page.keyboard.press("Enter")
    await guest.reads("The connection broke. Ask again: it is charged once at most.")
    await shop.stood.service.start()
    await guest.reads("The provider answers again.")
    await guest.visitor.sees(state="active", balance="0.992 TEST")
    await guest.visitor.button("Ask again").click()
    await guest.visitor.sees(balance="0.984 TEST")
    await guest.visitor.close()
    assert await shop.paid(wallet.keypair, FUNDS) == 2 * PRICE


async def test_a_provider_that_is_away_while_the_wallet_signs_is_handed_the_payment_later(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.wallet())

    async def killing(request: str) -> None:
        if request == "transaction":
            await shop.stood.service.kill()

    willing, wallet.mood = wallet.mood, killing
    await guest.visitor.order("1.0")
    await guest.choose_wallet()
    await guest.visitor.sees(state="offline")
    wallet.mood = willing
    await shop.stood.service.start()
    await guest.reads("The provider answers again.")
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    assert await shop.paid(wallet.keypair, FUNDS) == DEPOSIT


async def test_a_session_that_ended_while_nobody_looked_is_shown_as_closed(shop: Shop) -> None:
    """Closed in another browser by the wallet's word; this one's token is revoked, and it says so."""
    wallet = await shop.wallet()
    first, second = await shop.visit(wallet), await shop.visit(wallet)
    await first.fund()
    kept = json.loads(await first.kept() or "")
    await first.visitor.page.close()
    await second.visitor.button("Find my session").click()
    await second.visitor.button(f"Sign with {wallet.name}").click()
    await second.visitor.sees(state="active")
    await second.visitor.close()
    again = Visitor(await first.context.new_page())
    await again.visit(panel.address(shop.stood))
    await expect(again.page.get_by_text("The session kept in this browser is not valid any more")).to_be_visible()
    assert kept["sessionId"]
    assert await again.page.evaluate("localStorage.getItem('retainer.session')") is None


@pytest.mark.parametrize(
    "kept",
    [
        {"sessionId": "1" * 32, "token": "made-up", "invoice": None},
        {"sessionId": None, "token": "made-up", "invoice": {"id": "unknown", "token": "made-up"}},
    ],
    ids=["session", "invoice"],
)
async def test_what_a_browser_kept_of_another_service_is_cleared_with_a_sentence(
    shop: Shop, kept: dict[str, object]
) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.visitor.page.evaluate("(kept) => localStorage.setItem('retainer.session', kept)", json.dumps(kept))
    await guest.visitor.page.reload()
    await guest.reads("The session kept in this browser is not valid any more; it was cleared.")
    assert await guest.kept() is None
    await guest.fund("0.5")
    await guest.visitor.sees(state="active", balance="0.5 TEST")
