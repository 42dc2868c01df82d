"""cards-browser: small conversations on one session in a real browser; page, books and chain agree on their cost."""

import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from playwright.async_api import Page, Request, expect

from tools import oracle, panel
from tools.browser import Watched, chromium
from tools.evidence.card_visitor import CardVisitor
from tools.evidence.report import Report
from tools.stage import Stage, stage

FOLDER: Final = Path(__file__).parents[3] / "build" / "screenshots" / "cards"
PRICE, DEPOSIT = 8_000, 1_000_000
UNIT: Final = 1_000_000
SLOT_MS: Final = 50
Scheme = Literal["light", "dark"]
LOOKS: Final[tuple[tuple[str, int, int, Scheme], ...]] = (
    ("desktop", 1280, 900, "light"),
    ("phone", 390, 844, "dark"),
    ("desktop", 1280, 900, "dark"),
    ("phone", 390, 844, "light"),
)
# Behind the service's back: what a card's first turn cost is noted twice.
_FAULT: Final = """
  CREATE TRIGGER noted_twice AFTER INSERT ON card_runtime WHEN NEW.amount > 0
  BEGIN UPDATE card_runtime SET amount = 2 * amount WHERE card = NEW.card; END"""
_ON_CARDS: Final = "SELECT coalesce(sum(amount), 0), coalesce(sum(turns), 0) FROM card_runtime"
_CHARGED: Final = "SELECT spent FROM session"


@dataclass
class Play:
    """Who is on stage, the turns that must have been charged so far, and those that came too `slow` to be.

    `looks` are how each picture is taken.
    """

    report: Report
    stood: Stage
    person: CardVisitor
    looks: Sequence[tuple[str, int, int, Scheme]]
    turns: int = 0
    slow: int = 0
    pictures: int = 0
    archived_asked: list[str] = field(default_factory=list)

    def listen(self, request: Request) -> None:
        """Note requests for archived cards."""
        if "archived=true" in request.url:
            self.archived_asked.append(request.url)

    async def picture(self, name: str) -> None:
        """Take every look of what is shown, and go back to the first."""
        page = self.person.page
        for device, width, height, scheme in (*self.looks, LOOKS[0]):
            await page.set_viewport_size({"width": width, "height": height})
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await page.screenshot(path=FOLDER / f"{name}-{device}-{scheme}.png")
        self.pictures += len(self.looks)

    async def balance(self, when: str) -> None:
        """Compare what the page shows with what was asked, and with the books."""
        spent = self.turns * PRICE
        left = _shown(DEPOSIT - spent)
        await self.person.sees(balance=left)
        self.report.equal(f"{when}: balance on top of the page", await self.person.hud("balance").inner_text(), left)
        with sqlite3.connect(f"file:{self.stood.folder / 'ledger.sqlite'}?mode=ro", uri=True) as books:
            (charged,) = books.execute(_CHARGED).fetchone()
            on_cards, turns = books.execute(_ON_CARDS).fetchone()
        told = f"{when}: turns of cards, of which {self.slow} came later than promised and cost nothing"
        self.report.equal(told, turns, self.turns + self.slow)
        self.report.equal(f"{when}: base units that the ledger and the cards have", (charged, on_cards), (spent, spent))


async def run(report: Report) -> None:
    """Create, title, send, reply, refer, fail and retry, archive, filter, reload; then close, and look at the chain."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            oracle.running() as upstream,
            stage(Path(folder), upstream=upstream, offers=panel.offers(free=0), slot_ms=SLOT_MS) as stood,
            chromium() as browser,
        ):
            wallet = await stood.new_agent("5.0")
            page, watched = await browser.new_page(viewport={"width": 1280, "height": 900}), Watched()
            watched.on(page)
            person = CardVisitor(page)
            play = Play(report, stood, person, LOOKS[: report.count(len(LOOKS), 2)])
            page.on("request", play.listen)
            if report.sabotage:
                with sqlite3.connect(stood.folder / "ledger.sqlite") as books:
                    books.execute(_FAULT)
                report.plant("the books note what a card's first turn cost twice")
            before = await stood.balance(wallet.pubkey())
            await person.visit(panel.address(stood, wallet))
            await _fund(play)
            await _create(play)
            await play.balance("after the first card")
            if report.sabotage:
                return
            await _title(play)
            await _send(play)
            await _refer(play)
            await _fail_and_retry(play)
            await _unseen(play)
            await _archive_and_filter(play)
            await _reload(play)
            await play.balance("in the end")
            await _phone(play)
            await _close(play)
            paid = before - await stood.balance(wallet.pubkey())
            report.equal("paid by the wallet, on chain, in base units", paid, (play.turns + 1) * PRICE)
            report.equal("hosts that the page asked", sorted(watched.hosts), [urlsplit(stood.service.url).netloc])
            others = [one for one in watched.errors if "net::ERR_FAILED" not in one]
            report.equal("errors in the page, beside the events that were cut", others, [])
            report.equal("pictures in build/screenshots/cards", len(list(FOLDER.glob("*.png"))), play.pictures)


async def _fund(play: Play) -> None:
    person = play.person
    await person.open_hub()
    await expect(person.hub.get_by_role("heading", name="Cards are paid by a session")).to_be_visible()
    await play.picture("no-session")
    await person.button("Go to funding").click()
    focused = await person.page.evaluate("document.activeElement.id")
    play.report.equal("without a session the hub leads to the field", focused, "amount")
    await person.order("1.0")
    await person.pay()
    await person.open_hub()
    await expect(person.page.get_by_role("heading", name="No cards yet")).to_be_visible()
    await play.picture("empty")


async def _create(play: Play) -> None:
    """The responder finds a title in a turn of its own, and says so before."""
    person, page = play.person, play.person.page
    await person.watch_main_view()
    await page.locator("#new-card").fill("Why are there two tides a day?")
    cost = await page.locator("#new-card-cost").inner_text()
    play.report.equal("a card without a title says that it takes two turns", "0.016 TEST in all" in cost, expected=True)
    await play.picture("create")
    await person.start("Why are there two tides a day?", "ada")
    said = await person.answered(2)
    play.turns += 2
    play.report.equal(
        "answered on the card", said, "You asked “Why are there two tides a day?”: 7 words, 30 characters."
    )
    await expect(person.row("Why are there two tides a")).to_be_visible()
    play.report.equal("spent on it, by itself", await person.spent_here(), 2 * PRICE)
    changes = await person.main_view_changes()
    play.report.equal("changes in the main view while a card was made and answered", changes, [])
    await play.picture("replied")


async def _title(play: Play) -> None:
    person = play.person
    await person.start("Which is the oldest bridge?", "bert", title="Bridges")
    await person.answered(2)
    play.turns += 1
    play.report.equal("spent on a card with a title of its own", await person.spent_here(), PRICE)
    await person.retitle("Old bridges")
    play.report.equal("a changed title in the list at once", await person.row("Old bridges").count(), 1)
    await person.page.get_by_role("button", name="Change the title").click()
    await play.picture("title")
    await person.page.keyboard.press("Escape")


async def _send(play: Play) -> None:
    person = play.person
    await person.send("And the longest?")
    said = await person.answered(4)
    play.turns += 1
    remembered = "I heard “And the longest?”. Before that you said “Which is the oldest bridge?”."
    play.report.equal("the reply knows what was said before", said, remembered)
    numbers = await person.page.locator(".said .number").all_inner_texts()
    play.report.equal("numbers of the lines", numbers, ["1", "2", "3", "4"])
    await play.picture("sent")


async def _refer(play: Play) -> None:
    """By drag into an input, onto a card that is not open, and by keyboard; and each waits to be sent."""
    person, page, tides = play.person, play.person.page, play.person.row("Why are there two tides a")
    await tides.drag_to(person.draft)
    waiting = (await person.draft.input_value()).strip()
    play.report.equal("dragged into the input it waits", waiting.startswith("session:qs-"), expected=True)
    play.report.equal("and nothing was sent", await person.lines.count(), 4)
    await play.picture("dragged")
    await person.send("is what I mean")
    await person.answered(6)
    play.turns += 1
    link = person.lines.nth(4).locator("a.reference")
    play.report.equal(
        "sent, it is a link that says what it leads to", await link.inner_text(), "Why are there two tides a"
    )
    await link.click()
    await expect(page.locator("#card-title")).to_have_text("Why are there two tides a")
    await page.locator("[data-line='2'] .number").drag_to(person.row("Old bridges"))
    await expect(person.row("Old bridges").locator(".tag")).to_have_text("draft")
    await page.reload()
    await person.scene("session")
    await person.open_hub()
    await person.open_card("Old bridges")
    kept = (await person.draft.input_value()).strip()
    play.report.equal("a line dropped on a closed card waits there, after a reload too", kept[-8:], ":L000002")
    await play.picture("draft")
    await person.row("Old bridges").get_by_role("button", name="Refer to").focus()
    await page.keyboard.press("Enter")
    await play.picture("refer-by-keyboard")
    await page.keyboard.press("Enter")
    question = await page.get_by_label("Your question").input_value()
    play.report.equal(
        "by keyboard it came into the question", question.strip().startswith("session:qs-"), expected=True
    )
    await page.get_by_label("Your question").fill("")


async def _fail_and_retry(play: Play) -> None:
    person, page = play.person, play.person.page
    await person.open_hub()
    await person.start("fail at the first try", "ada", title="Failing")
    await person.standing("error")
    await expect(page.get_by_role("alert").filter(has_text="The last turn failed")).to_be_visible()
    play.report.equal("a turn that failed cost", await person.spent_here(), 0)
    await play.picture("error")
    await page.get_by_role("button", name="Try again").click()
    await person.answered(2)
    play.turns += 1
    play.report.equal("tried again it cost", await person.spent_here(), PRICE)


async def _unseen(play: Play) -> None:
    """With the hub closed its button tells what is new; and without events the page asks by itself."""
    person, page = play.person, play.person.page
    await page.route("**/api/events", lambda route: route.abort())
    await page.reload()
    await person.scene("session")
    await person.open_hub()
    await person.open_card("Why are there two tides a")
    await person.send("slowly, please")
    await page.keyboard.press("Escape")
    await expect(person.hub).to_have_count(0)
    await expect(person.button("Cards, 1 with something new")).to_be_visible()
    play.slow += 1
    play.report.step("an answer that came with the hub closed, and with no events, is told by the hub's button")
    await play.picture("unseen")
    await page.unroute("**/api/events")
    await page.reload()
    await person.scene("session")
    await person.open_hub()
    await expect(person.row("Why are there two tides a").locator(".count")).to_have_text("1 new")
    await person.open_card("Failing")


async def _archive_and_filter(play: Play) -> None:
    person, page = play.person, play.person.page
    before = len(play.archived_asked)
    await page.get_by_role("button", name="Archive", exact=True).click()
    await play.picture("archive")
    await page.get_by_role("button", name="Archive it").click()
    await expect(person.row("Failing")).to_have_count(0)
    play.report.equal("requests for archived cards, before anybody asks for them", len(play.archived_asked), before)
    await page.get_by_label("Status").select_option("archived")
    await expect(person.row("Failing")).to_be_visible()
    play.report.at_least("and after", len(play.archived_asked), 1)
    await play.picture("archived")
    await page.get_by_label("Status").select_option("all")
    await page.get_by_label("Find a card").fill("bridge")
    await expect(page.locator("li.card")).to_have_count(1)
    play.report.step("of all cards the filter leaves the one that fits")
    await play.picture("filter")
    await page.get_by_label("Find a card").fill("")


async def _reload(play: Play) -> None:
    person, page = play.person, play.person.page
    await page.get_by_role("button", name="Keep the cards beside").click()
    await page.reload()
    await person.scene("session")
    await expect(person.hub).to_have_attribute("data-mode", "pinned")
    await expect(page.locator("li.card")).to_have_count(2)
    await person.open_card("Old bridges")
    await person.answered(6)
    play.report.step("after a reload the hub is pinned as it was, with its cards")
    await play.picture("pinned")
    await person.page.get_by_label("Close the cards").click()


async def _phone(play: Play) -> None:
    """With a finger: the hub covers the page, and a reference is put by its button."""
    person, page = play.person, play.person.page
    await page.set_viewport_size({"width": 390, "height": 844})
    await person.button("Cards").click()
    await expect(person.hub).to_have_attribute("data-mode", "covering")
    await page.get_by_role("button", name="All cards").click()
    await person.row("Old bridges").get_by_role("button", name="Refer to").click()
    await page.get_by_role("button", name="your question").click()
    await expect(person.hub).to_have_count(0)
    focused = await page.evaluate("document.activeElement.id")
    play.report.equal("on a phone a reference is put without dragging; the focus is then on", focused, "question")
    await page.keyboard.press("Enter")
    await expect(page.locator(".turns a.reference")).to_have_text("Old bridges")
    await expect(page.locator(".turns .cost")).to_have_text("0.008 TEST")
    await play.picture("question")


async def _close(play: Play) -> None:
    page: Page = play.person.page
    await page.set_viewport_size({"width": 1280, "height": 900})
    back, paid, transaction = await play.person.close()
    spent = (play.turns + 1) * PRICE
    wanted = [_shown(DEPOSIT - spent), _shown(spent)]
    play.report.equal("the page says, back and paid", [back, paid], wanted)
    await play.stood.until_final(transaction)
    play.report.equal("paid out on chain", await play.stood.balance(play.stood.payee.pubkey()), spent)
    await play.person.open_hub()
    await expect(play.person.hub.get_by_role("heading", name="Cards are paid by a session")).to_be_visible()
    kept = await page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('retainer.'))")
    play.report.equal("kept in the browser in the end: the local wallet alone", kept, ["retainer.local-wallet"])


def _shown(units: int) -> str:
    """An amount as the page shows it, worked out on its own."""
    whole, rest = divmod(units, UNIT)
    return f"{whole}.{f'{rest:06d}'.rstrip('0') or '0'} TEST"
