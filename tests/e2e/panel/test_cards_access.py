"""The hub of cards for everybody: mirrored from right to left at every width, titles counted while they are typed."""

from typing import Final

import pytest
from playwright.async_api import Page, expect

from tests.e2e.panel.conftest import Shop
from tools.evidence.card_visitor import CardVisitor

pytestmark = pytest.mark.asyncio(loop_scope="module")
BEYOND: Final = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# What stands beside something else, and where its edges are, from the side on which a line begins.
PLACES: Final = """(selectors) => {
  const rtl = document.documentElement.dir === 'rtl';
  const width = document.documentElement.clientWidth;
  return Object.fromEntries(selectors.map((selector) => {
    const box = document.querySelector(selector).getBoundingClientRect();
    const from = rtl ? width - box.right : box.left;
    return [selector, [Math.round(from), Math.round(box.top), Math.round(box.width)]];
  }));
}"""
BORDERS: Final = """() => {
  const { borderLeftWidth, borderRightWidth } = getComputedStyle(document.querySelector('.said'));
  return [borderLeftWidth, borderRightWidth];
}"""
PARTS: Final = (
    ".hub",
    ".list",
    ".thread",
    ".hub > header",
    "li.card .mark",
    "li.card .iconic",
    ".back",
    ".said .number",
)
# Of a phone, much enlarged, of a desk where the hub floats, and of one that has room for it beside the rest.
WIDTHS: Final = ((320, 640), (1024, 900), (1600, 900))
LONGEST: Final = 80


async def turn(page: Page, direction: str) -> None:
    await page.evaluate("(direction) => (document.documentElement.dir = direction)", direction)


async def test_from_right_to_left_the_hub_is_the_mirror_of_itself(shop: Shop) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    person = CardVisitor(guest.visitor.page)
    page = person.page
    await page.set_viewport_size({"width": 1600, "height": 900})
    await person.open_hub()
    await person.start("How far is the moon?", "ada", "The moon")
    await person.answered(2)
    modes = []
    for width, height in WIDTHS:
        await page.set_viewport_size({"width": width, "height": height})
        await expect(person.lines).to_have_count(2)
        shown = [part for part in PARTS if await page.locator(part).first.is_visible()]
        await turn(page, "ltr")
        straight, borders = await page.evaluate(PLACES, shown), await page.evaluate(BORDERS)
        await turn(page, "rtl")
        mirrored, turned = await page.evaluate(PLACES, shown), await page.evaluate(BORDERS)
        assert mirrored == straight, f"at {width} pixels"
        assert turned == borders[::-1] == ["0px", "3px"]
        assert await page.evaluate(BEYOND) <= 0, f"nothing scrolls sideways at {width} pixels"
        modes.append(await person.hub.get_attribute("data-mode"))
        await turn(page, "ltr")
    assert modes == ["covering", "floating", "floating"]
    await page.get_by_role("button", name="Keep the cards beside the conversation").click()
    await turn(page, "rtl")
    hub, talk = await person.hub.bounding_box(), await page.locator(".talk").bounding_box()
    assert hub is not None
    assert talk is not None
    assert hub["x"] >= talk["x"] + talk["width"], "pinned, it stands where lines begin"
    assert guest.watched.errors == []


async def test_a_text_runs_the_way_its_script_does(shop: Shop) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    person = CardVisitor(guest.visitor.page)
    await person.open_hub()
    await person.start("ما هي المسافة إلى القمر؟", "ada", "القمر")
    await person.answered(2)
    for part in (".said .body", "li.card .name", "#card-title"):
        await expect(person.page.locator(part).first).to_have_css("direction", "rtl")
    await person.start("And the sun?", "ada", "The sun")
    await expect(person.page.locator("#card-title")).to_have_css("direction", "ltr")


async def test_no_button_takes_the_focus_with_it_when_it_goes(shop: Shop) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    person = CardVisitor(guest.visitor.page)
    page = person.page
    await person.open_hub()
    await person.start("fail, please", "ada", "Hard")
    await person.standing("error")
    await expect(page.locator(".saying"), "nobody thinks about it any more").to_have_count(0)
    await page.get_by_role("button", name="Try again").press("Enter")
    await expect(page.locator("#card-title")).to_be_focused()
    await person.standing("active")
    await page.get_by_role("button", name="Archive").press("Enter")
    await expect(page.get_by_role("group", name="Archive")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Archive")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("group", name="Archive")).to_be_focused()
    await page.get_by_role("button", name="Archive it").press("Enter")
    await expect(page.locator("#hub-title")).to_be_focused()
    assert guest.watched.errors == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)], ids=["covering", "floating"])
async def test_cards_that_cover_the_page_say_as_well_that_nobody_answers(shop: Shop, width: int, height: int) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    person = CardVisitor(guest.visitor.page)
    await person.page.set_viewport_size({"width": width, "height": height})
    await person.open_hub()
    await person.page.locator("#new-card").wait_for()
    await expect(person.hub.get_by_role("link")).to_have_count(0)
    await guest.context.set_offline(offline=True)
    await person.page.locator("#new-card").fill("Is anybody there?")
    await person.page.locator("#new-card").press("Enter")
    await expect(person.hub.get_by_text("The provider does not answer.")).to_be_visible()
    await expect(person.page.locator("#new-card")).to_have_value("Is anybody there?")
    await guest.context.set_offline(offline=False)
    await expect(person.hub.get_by_text("The provider does not answer.")).to_have_count(0)


async def test_a_title_that_is_too_long_is_told_before_it_is_sent(shop: Shop) -> None:
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    person = CardVisitor(guest.visitor.page)
    page = person.page
    await person.open_hub()
    await page.locator("#new-card").fill("Who are they?")
    family = "👩‍👩‍👧‍👦"
    title = page.get_by_placeholder("Title it yourself")
    await title.fill(family * (LONGEST + 2))
    room = page.locator("#new-title-room")
    await expect(room).to_have_text("2 characters too many: a title holds at most 80. Shorten it.")
    await title.press("Enter")
    await expect(person.button("Start")).to_be_disabled()
    await title.fill(family * LONGEST)
    await expect(room).to_have_text("As long as a title can be")
    await title.press("Enter")
    await expect(page.locator("#card-title")).to_have_text(family * LONGEST)
    await person.button("Change the title").click()
    await page.get_by_label("Title of this card").fill("e\u0301" * (LONGEST + 1))
    await expect(page.locator("#title-room")).to_have_text(
        "1 character too many: a title holds at most 80. Shorten it."
    )
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Title of this card")).to_be_visible()
    assert guest.watched.errors == [], "nothing was sent to be refused"
