"""panel-states: screenshots of the panel in each state, phone and desktop, light and dark, on a real network."""

import asyncio
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, Route

from tests.browser_wallet import BrowserWallet, with_deposit, with_price
from tools import oracle, panel
from tools.browser import chromium
from tools.evidence.report import Report
from tools.evidence.visitor import Visitor
from tools.stage import stage

FOLDER: Final = Path(__file__).parents[3] / "build" / "screenshots"
Scheme = Literal["light", "dark"]
LOOKS: Final[tuple[tuple[str, int, int, Scheme], ...]] = (
    ("desktop", 1280, 900, "light"),
    ("phone", 390, 844, "dark"),
    ("desktop", 1280, 900, "dark"),
    ("phone", 390, 844, "light"),
)
# Final after 31 slots: long enough to take all pictures of what is only passed through.
SLOT_MS, SLOT_MS_IN_CI = 400, 200
PAID, LOW_AFTER = "0.1", 7
ASKS = 12
# Every deposit waits for finality, and a phone could reach this service.
_OFFERS: Final = (
    panel.offers(free=1)
    .replace('path = "/"', 'path = "/"\npublic_url = "https://api.your-domain.org"')
    .replace('price = "0.008"', 'price = "0.008"\ncredit_before_finality = "0"')
)
# What becomes of an invoice that a careless wallet pays: half of it, or on terms of its own.
_NOT_ACCEPTED: Final = {
    "underpaid": ("underpaid", with_deposit(50_000)),
    "rejected": ("not accepted", with_price(panel.PRICE // 2)),
}


@dataclass
class Album:
    """Takes the pictures; `states` are those that were taken."""

    report: Report
    visitor: Visitor
    looks: int
    states: list[str] = field(default_factory=list)

    async def take(self, name: str, show: str | None = None, **hud: str) -> None:
        """Wait until the head-up display says that, and take every look, with the picture named `show` in sight."""
        page = self.visitor.page
        if self.report.sabotage and self.states:
            shown = {cell: await self.visitor.hud(cell).inner_text() for cell in hud}
        else:
            await self.visitor.sees(**hud)
            shown = hud
        for device, width, height, scheme in LOOKS[: self.looks]:
            await page.set_viewport_size({"width": width, "height": height})
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            if show:
                await page.get_by_role("img", name=show).evaluate("(shown) => shown.scrollIntoView({block: 'center'})")
            await page.screenshot(path=FOLDER / f"{name}-{device}-{scheme}.png")
        self.states.append(name)
        self.report.equal(f"{name}: the page says", shown, hud)
        still = {cell: await self.visitor.hud(cell).inner_text() for cell in hud}
        if still != shown:
            self.report.equal(f"{name}: the page says when the last picture is taken", still, shown)


async def run(report: Report) -> None:
    """Walk through all states with a camera."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for earlier in FOLDER.glob("*.png"):
        earlier.unlink()
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            oracle.running() as upstream,
            stage(
                Path(folder), upstream=upstream, offers=_OFFERS, slot_ms=report.count(SLOT_MS, SLOT_MS_IN_CI)
            ) as stood,
            chromium() as browser,
        ):
            wallet = await stood.new_agent("5.0")
            visitor = Visitor(await browser.new_page())
            album = Album(report, visitor, report.count(len(LOOKS), 2))
            if report.sabotage:
                report.plant("a page whose script was built from other texts: it calls every session active")
                await visitor.page.route("**/index.js", _careless)
            await visitor.visit(panel.address(stood, wallet))
            await _before_paying(album)
            await _in_session(album)
            await _at_the_end(album)
            poor = Visitor(await browser.new_page())
            await poor.visit(panel.address(stood, await stood.new_agent("0.05", lamports=1_000_000)))
            await _too_poor(replace(album, visitor=poor))
            for name, (said, alter) in _NOT_ACCEPTED.items():
                careless = BrowserWallet(await stood.new_agent("5.0"), send=stood.chain.send, alter=alter)
                owner = await _with_wallet(browser, careless)
                await owner.visit(panel.address(stood))
                await _not_accepted(replace(album, visitor=owner), careless.name, name, said)
            await stood.service.kill()
            await album.take("error", state="offline")
    taken = sorted(one.stat().st_size for one in FOLDER.glob("*.png"))
    report.equal("screenshots in build/screenshots", len(taken), len(album.states) * album.looks)
    report.at_least("bytes of the smallest, which an empty page has not", taken[0], 10_000)


async def _careless(route: Route) -> None:
    answer = await route.fetch()
    text = await answer.text()
    for honest in ("low balance", "used up", "expired", "closing", "closed"):
        for quote in "`\"'":
            text = text.replace(f":{quote}{honest}{quote}", f":{quote}active{quote}")
    await route.fulfill(response=answer, body=text)


async def _before_paying(album: Album) -> None:
    visitor = album.visitor
    await album.take("free-tier", state="free tier", asks="1 free")
    await visitor.ask("What is free?")
    await visitor.page.reload()
    await album.take("empty", state="no session", balance="none", asks="0")
    await visitor.page.get_by_label("Another amount").fill("0.05")
    await album.take("wrong-amount", state="no session")
    await visitor.order(PAID)
    await album.take("funding", state="not paid yet")
    await visitor.button("Show the QR code").click()
    await album.take("qr", show="QR code for Solana Pay", state="not paid yet")


async def _too_poor(album: Album) -> None:
    visitor = album.visitor
    await visitor.order(PAID)
    await visitor.button("Pay with").click()
    await visitor.page.get_by_text("Nothing was paid.").wait_for()
    await album.take("too-poor", state="not paid yet")


async def _with_wallet(browser: Browser, wallet: BrowserWallet) -> Visitor:
    context = await browser.new_context()
    await wallet.join(context)
    return Visitor(await context.new_page())


async def _not_accepted(album: Album, wallet: str, name: str, state: str) -> None:
    visitor = album.visitor
    await visitor.order(PAID)
    await visitor.button(f"Pay with {wallet}").click()
    await visitor.button("Begin anew").wait_for()
    await album.take(name, state=state)


async def _in_session(album: Album) -> None:
    visitor, pictured = album.visitor, asyncio.Event()

    async def slowly(route: Route) -> None:
        """A connection that takes its time, until the pictures of what is only passed through are taken."""
        await pictured.wait()
        await route.continue_()

    await visitor.page.route("**/api/invoices/*/transaction", slowly)
    await visitor.button("Pay with").click()
    await visitor.page.get_by_role("heading", name="Payment seen").wait_for()
    await album.take("confirming", state="opening")
    pictured.set()
    await visitor.scene("session")
    await visitor.ask("What is paid?")
    await album.take("active", state="active", balance="0.092 TEST", asks="11")
    for number in range(1, LOW_AFTER):
        await visitor.ask(f"Question {number}?")
    await album.take("low", state="low balance", balance="0.044 TEST", asks="5")
    for number in range(LOW_AFTER, ASKS):
        await visitor.ask(f"Question {number}?")
    await album.take("depleted", state="used up", balance="0.004 TEST", asks="0")
    await visitor.page.locator(".sheet").get_by_role("button", name="Top up").click()
    await album.take("top-up", state="used up")
    await visitor.button("Back").click()


async def _at_the_end(album: Album) -> None:
    visitor = album.visitor
    await visitor.button("Close and get the rest back").click()
    await visitor.button("Close it now").wait_for()
    await album.take("closing-preview", state="used up")
    await visitor.button("Close it now").click()
    await album.take("closing", state="closing")
    await visitor.page.get_by_role("heading", name="Session closed").wait_for()
    await album.take("closed", state="closed", balance="none")
    await visitor.button("Fund a new session").click()
    await visitor.order(PAID)
    await visitor.button("Pay with").click()
    await visitor.scene("session")
    # The offer's sessions run for a day: the page's clock goes on, the money stays where it is.
    await visitor.page.clock.set_system_time(datetime.now(UTC) + timedelta(days=2))
    await album.take("expired", state="expired", time="0:00")
