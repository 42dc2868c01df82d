"""panel-quality: the page is small, asks no other host, and axe finds nothing serious in any of its states."""

import json
import tempfile
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from playwright.async_api import Page, Route

from tools import oracle, panel
from tools.browser import Watched, chromium
from tools.evidence.card_visitor import CardVisitor
from tools.evidence.report import Report
from tools.evidence.visitor import Visitor
from tools.stage import Stage, stage

ROOT: Final = Path(__file__).parents[3]
AXE: Final = ROOT / "provider" / "panel" / "node_modules" / "axe-core" / "axe.min.js"
MOST_BYTES: Final = 150_000
WIDTHS: Final = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
SLOT_MS = 50
# axe's own words for what keeps people out; the rest is advice.
_GRAVE: Final = ("serious", "critical")
_PALE: Final = ":root { --soft: #ddd !important; --text: #ccc !important; }"


async def run(report: Report) -> None:
    """Load it cold, then let axe look at each state at two widths in two colour schemes."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            oracle.running() as upstream,
            stage(Path(folder), upstream=upstream, offers=panel.offers(free=2), slot_ms=SLOT_MS) as stood,
            chromium() as browser,
        ):
            wallet = await stood.new_agent("5.0")
            page, watched = await browser.new_page(), Watched()
            watched.on(page)
            if report.sabotage:
                report.plant("the style sheet has pale grey text, as fashion would")
                await page.route("**/index.css", _pale)
            visitor = CardVisitor(page)
            await _first_load(report, visitor, panel.address(stood, wallet))
            found = await _walk(visitor)
            report.equal("serious or critical findings of axe", sorted(found), [])
            await _keyboard(report, visitor)
            await _outage(report, visitor, stood)
            report.equal("hosts that the page asked", sorted(watched.hosts), [urlsplit(stood.service.url).netloc])


async def _pale(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, body=await answer.text() + _PALE)


async def _first_load(report: Report, visitor: Visitor, address: str) -> None:
    """What comes over the network until the page stands, as it is sent: compressed, headers included."""
    session = await visitor.page.context.new_cdp_session(visitor.page)
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await session.send("Network.enable")
    await visitor.visit(address)
    await visitor.button("Fund with").wait_for()
    report.at_most(f"bytes of the first load, compressed, in {len(sizes)} answers", int(sum(sizes)), MOST_BYTES)
    await session.detach()


async def _walk(visitor: CardVisitor) -> set[str]:
    """Go through the states and collect what axe finds, as `state: rule (element)`."""
    found: set[str] = set()
    await visitor.ask("What is free?")
    found |= await _look("offer", visitor.page)
    await visitor.page.get_by_label("Another amount").fill("nonsense")
    found |= await _look("wrong amount", visitor.page)
    await visitor.order("1.0")
    found |= await _look("paying", visitor.page)
    await visitor.pay()
    await visitor.ask("What is paid?")
    found |= await _look("session", visitor.page)
    await visitor.button("Top up").click()
    found |= await _look("top-up", visitor.page)
    await visitor.button("Back").click()
    return found | await _walk_cards(visitor)


async def _walk_cards(visitor: CardVisitor) -> set[str]:
    """The same of the hub, which is left pinned, as the keyboard has to pass it then."""
    page = visitor.page
    await visitor.open_hub()
    await page.get_by_role("heading", name="No cards yet").wait_for()
    found = await _look("no cards", page)
    await page.locator("#new-card").fill("Why?")
    found |= await _look("new card", page)
    await visitor.start("Why?", "ada", title="Whys")
    await visitor.answered(2)
    found |= await _look("card", page)
    await visitor.row("Whys").get_by_role("button", name="Refer to").click()
    found |= await _look("refer", page)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Archive", exact=True).click()
    found |= await _look("archive", page)
    await page.get_by_role("button", name="Cancel").click()
    await visitor.start("fail, please", "bert")
    await visitor.standing("error")
    found |= await _look("failed card", page)
    await page.get_by_role("button", name="Keep the cards beside").click()
    return found | await _look("pinned", page)


async def _look(state: str, page: Page) -> set[str]:
    found: set[str] = set()
    source = AXE.read_text(encoding="utf-8")
    for width, height in WIDTHS.values():
        for scheme in SCHEMES:
            await page.set_viewport_size({"width": width, "height": height})
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await page.evaluate(source)
            told = await page.evaluate("axe.run(document).then((found) => JSON.stringify(found.violations))")
            for violation in json.loads(told):
                if violation["impact"] in _GRAVE:
                    where = violation["nodes"][0]["target"][0]
                    found.add(f"{state}: {violation['id']} ({where})")
    width, height = WIDTHS["desktop"]
    await page.set_viewport_size({"width": width, "height": height})
    return found


async def _keyboard(report: Report, visitor: Visitor) -> None:
    """Close the session with the Tab and Enter keys alone, from the top of the page."""
    page = visitor.page
    await page.reload()
    await visitor.scene("session")
    for name in ("Close and get the rest back", "Close it now"):
        await visitor.button(name).wait_for()
        for _ in range(80):
            if await visitor.button(name).evaluate("(button) => button === document.activeElement"):
                break
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Session closed").wait_for()
    heading = await page.evaluate("document.activeElement.textContent")
    report.equal("closed by keyboard alone; the focus is then on", heading, "Session closed")


async def _outage(report: Report, visitor: Visitor, stood: Stage) -> None:
    """Without the provider the page says so, to screen readers as well."""
    await stood.service.kill()
    await visitor.page.get_by_label("Your question").fill("Is anybody there?")
    await visitor.page.keyboard.press("Enter")
    said = visitor.page.get_by_role("status").filter(has_text="does not answer")
    await said.first.wait_for()
    report.step("with the provider dead: " + (await said.first.inner_text()).split(".")[0])
    found = await _look("outage", visitor.page)
    report.equal("findings of axe while the provider is away", sorted(found), [])
