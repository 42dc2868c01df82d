"""panel: a person funds once and asks thirty times in a real browser, and the wallet's balance on chain is right."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playwright.async_api import Browser
from solders.pubkey import Pubkey

from tools import oracle, panel
from tools.browser import Watched, chromium
from tools.evidence.report import Report
from tools.evidence.visitor import Visitor
from tools.stage import Stage, stage

ASKS, PRICE, DEPOSIT, TOP_UP = 30, 8_000, 1_000_000, 500_000
UNIT: Final = 1_000_000
SLOT_MS = 50


@dataclass(frozen=True)
class Play:
    """Who is on stage: two tabs of one browser, and the wallet with what it had."""

    report: Report
    stood: Stage
    first: Visitor
    second: Visitor
    wallet: Pubkey
    before: int

    async def spent(self) -> int:
        """What the wallet has paid so far, on chain, in base units."""
        return self.before - await self.stood.balance(self.wallet)


async def run(report: Report) -> None:
    """Fund, ask, reload in the middle, ask, top up, close; with a second tab that looks on."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            oracle.running() as upstream,
            stage(Path(folder), upstream=upstream, offers=panel.offers(free=0), slot_ms=SLOT_MS) as stood,
            chromium() as browser,
        ):
            wallet = await stood.new_agent("5.0")
            before = await stood.balance(wallet.pubkey())
            context, watched = await browser.new_context(), Watched()
            context.on("page", watched.on)
            first, second = Visitor(await context.new_page()), Visitor(await context.new_page())
            play = Play(report, stood, first, second, wallet.pubkey(), before)
            await _poor(report, stood, browser)
            await first.visit(panel.address(stood, wallet))
            await second.visit(panel.address(stood))
            await _fund(play)
            half = ASKS // 2
            seen = await _ask(play, 0, half)
            if report.sabotage:
                report.plant("the browser forgets what it keeps at the reload, as a broken restore would")
                await first.page.evaluate("localStorage.clear()")
            await first.page.reload()
            await first.scene("session", "offer")
            left = await first.hud("balance").inner_text()
            report.equal("balance after the reload", left, _shown(DEPOSIT - half * PRICE))
            if report.sabotage:
                return
            seen += await _ask(play, half, ASKS)
            report.equal(f"questions answered at {_shown(PRICE)} each, seen in the second tab as well", seen, ASKS)
            await _top_up(play)
            await _close(play)
            report.equal("hosts that the pages asked", sorted(watched.hosts), [urlsplit(stood.service.url).netloc])
            report.equal("errors in the pages", watched.errors, [])


async def _poor(report: Report, stood: Stage, browser: Browser) -> None:
    """Somebody whose wallet does not have what was ordered, and then somebody without SOL."""
    for has, wallet in (
        ("0.5 TEST", await stood.new_agent("0.5")),
        ("0.001 SOL", await stood.new_agent("5.0", lamports=1_000_000)),
    ):
        visitor = Visitor(await browser.new_page())
        await visitor.visit(panel.address(stood, wallet))
        await visitor.order("1.0")
        await visitor.button("Pay with").click()
        await visitor.page.get_by_text(f"Your wallet has {has}").wait_for()
        await visitor.button("Cancel").click()
        await visitor.scene("offer")
        report.step(f"a wallet with {has} is told what it lacks, and begins anew")
        await visitor.page.close()


async def _fund(play: Play) -> None:
    await play.first.order("1.0")
    await play.second.scene("paying")
    play.report.step("the second tab shows the first one's invoice")
    await play.first.pay()
    await play.second.sees(state="active", balance=_shown(DEPOSIT), asks="125")
    play.report.equal("paid in, on chain, in base units (each button was clicked twice)", await play.spent(), DEPOSIT)


async def _ask(play: Play, start: int, end: int) -> int:
    seen = 0
    for number in range(start + 1, end + 1):
        cost = await play.first.ask(f"Question number {number}?")
        left = DEPOSIT - number * PRICE
        await play.second.sees(balance=_shown(left), asks=str(left // PRICE))
        seen += cost == _shown(PRICE)
    return seen


async def _top_up(play: Play) -> None:
    await play.second.button("Top up").click()
    await play.second.order("0.5")
    await play.second.pay()
    left = _shown(DEPOSIT + TOP_UP - ASKS * PRICE)
    await play.first.sees(balance=left)
    play.report.step(f"after the second tab's top-up the first one shows {left}")


async def _close(play: Play) -> None:
    report, stood = play.report, play.stood
    back, paid, transaction = await play.first.close()
    report.equal("the page says: back to the wallet", back, _shown(DEPOSIT + TOP_UP - ASKS * PRICE))
    report.equal("the page says: to the provider", paid, _shown(ASKS * PRICE))
    await play.second.sees(state="closed")
    report.step("the second tab shows that it is closed")
    await stood.until_final(transaction)
    report.fact("settlement", transaction)
    report.equal("what the wallet paid in the end, on chain, in base units", await play.spent(), ASKS * PRICE)
    got = await stood.balance(stood.payee.pubkey())
    report.equal("what the provider got, on chain, in base units", got, ASKS * PRICE)
    kept = await play.first.page.evaluate("localStorage.getItem('retainer.session')")
    report.equal("what the browser keeps of the session", kept, None)


def _shown(units: int) -> str:
    """An amount as the page shows it, worked out on its own."""
    whole, rest = divmod(units, UNIT)
    return f"{whole}.{f'{rest:06d}'.rstrip('0') or '0'} TEST"
