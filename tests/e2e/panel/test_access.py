"""The page for everybody: a whole session by keyboard alone, much enlarged, without motion, from right to left."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.e2e.panel.conftest import Guest, Shop, opened
from tools import panel
from tools.panel import PRICE

pytestmark = pytest.mark.asyncio(loop_scope="module")
FUNDS = 5_000_000
MOST_TABS = 40
# 1280 pixels at 400 %, which is what WCAG 2.2 asks for (1.4.10); and at 200 %.
ENLARGED = ((320, 256), (640, 450))
LARGE = "1234567.654321"
BEYOND = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def press(page: Page, name: str, *, role: str = "button") -> None:
    """Go there by Tab, and press Enter."""
    await reach(page, name, role=role)
    await page.keyboard.press("Enter")


async def reach(page: Page, name: str, *, role: str = "button") -> None:
    """Go to a control by Tab alone, wherever the focus is."""
    wanted = page.get_by_role(role, name=name).first  # type: ignore[arg-type]  # one of its roles
    await wanted.wait_for()
    for _ in range(MOST_TABS):
        if await wanted.evaluate("(element) => element === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{name} cannot be reached by keyboard")


async def test_a_session_lives_from_beginning_to_end_by_keyboard_alone(shop: Shop) -> None:
    guest = await shop.visit(wallet := await shop.wallet())
    page, sees = guest.visitor.page, guest.visitor.sees
    await press(page, "Skip to the question", role="link")
    await reach(page, "Another amount", role="textbox")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("1.0")
    await page.keyboard.press("Enter")
    await press(page, f"Pay with {wallet.name}")
    await sees(state="active", balance="1.0 TEST")
    await reach(page, "Your question", role="textbox")
    await page.keyboard.type("Can you hear me?")
    await page.keyboard.press("Enter")
    await sees(balance="0.992 TEST")
    await press(page, "Top up")
    await reach(page, "Another amount", role="textbox")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("0.5")
    await page.keyboard.press("Enter")
    await press(page, f"Pay with {wallet.name}")
    await sees(balance="1.492 TEST")
    await press(page, "Close and get the rest back")
    await press(page, "Close it now")
    await expect(page.get_by_role("heading", name="Session closed")).to_be_focused()
    await press(page, "Fund a new session")
    await press(page, "Find my session")
    await press(page, f"Sign with {wallet.name}")
    await guest.reads("This wallet has no open session here.")
    assert await shop.paid(wallet.keypair, FUNDS) == PRICE
    assert guest.watched.errors == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dear(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One where amounts are long: both what is paid in and what a request costs."""
    offers = panel.offers(free=0).replace('"0.008"', '"12345.000001"').replace('"1.0"', f'"{LARGE}"')
    offers = offers.replace('"0.1"', '"20000.0"')
    async with opened(tmp_path_factory.mktemp("dear"), browser, offers=offers) as running:
        yield running


async def through(guest: Guest, look: Callable[[str], Awaitable[None]]) -> None:
    """A session's states, one after the other."""
    visitor = guest.visitor
    await look("offer")
    await visitor.order(LARGE)
    await look("paying")
    await guest.choose_wallet()
    await visitor.scene("session")
    await visitor.ask("W" * 200)
    await look("session")
    await visitor.button("Top up").click()
    await look("top-up")
    await visitor.button("Back").click()
    await visitor.button("Close and get the rest back").click()
    await visitor.button("Close it now").wait_for()
    await look("closing")
    await visitor.button("Close it now").click()
    await visitor.page.get_by_role("heading", name="Session closed").wait_for()
    await look("closed")


async def test_enlarged_and_from_right_to_left_nothing_is_cut_off_or_scrolls_sideways(dear: Shop) -> None:
    guest = await dear.visit(await dear.wallet("9999999.0"))
    page, beyond = guest.visitor.page, dict[tuple[str, int, str], int]()

    async def look(state: str) -> None:
        for width, height in ENLARGED:
            await page.set_viewport_size({"width": width, "height": height})
            for direction in ("ltr", "rtl"):
                await page.evaluate("(direction) => (document.documentElement.dir = direction)", direction)
                beyond[state, width, direction] = await page.evaluate(BEYOND)
        await page.evaluate("document.documentElement.dir = 'ltr'")
        await page.set_viewport_size({"width": 1280, "height": 900})

    await through(guest, look)
    assert {place: pixels for place, pixels in beyond.items() if pixels > 0} == {}


async def test_amounts_are_shown_to_the_last_unit_however_large(dear: Shop) -> None:
    guest = await dear.visit(wallet := await dear.wallet("9999999.0"))
    await guest.visitor.order(LARGE)
    await guest.choose_wallet()
    await guest.visitor.sees(state="active", balance="1\u202f234\u202f567.654321 TEST", asks="100")
    assert await guest.visitor.ask("One?") == "12\u202f345.000001 TEST"
    await guest.visitor.sees(balance="1\u202f222\u202f222.65432 TEST", asks="99")
    back, paid, _ = await guest.visitor.close()
    assert (back, paid) == ("1\u202f222\u202f222.65432 TEST", "12\u202f345.000001 TEST")
    assert await dear.paid(wallet.keypair, 9_999_999_000_000) == 12_345_000_001


async def test_nothing_moves_for_whoever_asked_for_that(shop: Shop) -> None:
    wallet, held = await shop.holding_wallet()
    guest = await shop.visit(wallet)
    page, moving = guest.visitor.page, dict[str, int]()
    await page.emulate_media(reduced_motion="reduce")

    async def look(state: str) -> None:
        moving[state] = await page.evaluate("document.getAnimations().length")

    await guest.visitor.order("1.0")
    await look("paying")
    await guest.choose_wallet()
    await page.get_by_role("heading", name="Payment seen").wait_for()
    await look("confirming")
    await shop.stood.chain.send(held[0])
    await guest.visitor.scene("session")
    await look("session")
    assert moving == {"paying": 0, "confirming": 0, "session": 0}
