"""A browser that forgot its session finds it again by what the paying wallet signs."""

import pytest

from tests.e2e.panel.conftest import DEPOSIT, Shop
from tools.panel import PRICE

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_another_browser_finds_the_session_by_the_wallet_that_paid(shop: Shop) -> None:
    wallet = await shop.wallet()
    first = await shop.visit(wallet)
    await first.fund()
    await first.visitor.ask("Where do I stand?")

    second = await shop.visit(wallet)
    await second.visitor.button("Find my session").click()
    wallet.requests.clear()
    await second.visitor.button(f"Sign with {wallet.name}").click()
    await second.reads("Your session is back.")
    assert wallet.requests == ["connect", "message", "message"]
    await second.visitor.sees(state="active", balance=f"{(DEPOSIT - PRICE) / 1_000_000} TEST", asks="124")
    assert await second.visitor.ask("Do I pay from it?") == "0.008 TEST"

    # The token of the first browser is revoked: it says so, and keeps nothing.
    await first.reads("The session kept in this browser is not valid any more")
    assert await first.kept() is None
    await first.visitor.sees(state="no session")

    await second.visitor.close()
    assert await shop.paid(wallet.keypair, 5_000_000) == 2 * PRICE


async def test_a_browser_whose_storage_was_cleared_finds_it_as_well(shop: Shop) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    await guest.visitor.page.evaluate("localStorage.clear()")
    await guest.visitor.page.reload()
    await guest.visitor.sees(state="no session")
    await guest.visitor.button("Find my session").click()
    await guest.visitor.button(f"Sign with {guest.wallet.name}").click()
    await guest.visitor.sees(state="active", balance="1.0 TEST")
    await guest.visitor.page.reload()
    await guest.visitor.sees(state="active", balance="1.0 TEST")


async def test_a_wallet_that_never_paid_here_is_told_so(shop: Shop) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.visitor.button("Find my session").click()
    await guest.visitor.button(f"Sign with {guest.wallet.name}").click()
    await guest.reads("This wallet has no open session here.")
