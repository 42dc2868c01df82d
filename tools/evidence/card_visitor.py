"""A person at the hub of the web panel: what evidence does with cards, by what the page shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from playwright.async_api import expect

from tools.evidence.visitor import Visitor

if TYPE_CHECKING:
    from playwright.async_api import Locator

# What changes in the conversation and its input, from here on: a card's activity must not.
_WATCH: Final = """() => {
  window.mainViewChanges = [];
  new MutationObserver((seen) => window.mainViewChanges.push(...seen.map((one) => one.target.nodeName)))
    .observe(document.querySelector('.talk'), { subtree: true, childList: true, characterData: true });
}"""


@dataclass(frozen=True)
class CardVisitor(Visitor):
    """One tab with the hub. Every method waits until the page shows what it came to."""

    @property
    def hub(self) -> Locator:
        """The hub, where it is shown."""
        return self.page.locator("#hub")

    async def open_hub(self) -> None:
        """Open it by the keyboard, unless it is open."""
        if not await self.hub.is_visible():
            await self.page.keyboard.press("Control+k")
        await expect(self.hub).to_be_visible()

    def row(self, title: str) -> Locator:
        """A card of the list, by its title."""
        return self.page.locator("li.card").filter(has=self.page.locator(".name", has_text=re.compile(f"^{title}$")))

    @property
    def lines(self) -> Locator:
        """The lines of the thread that is shown."""
        return self.page.locator(".said:not(.saying)")

    @property
    def draft(self) -> Locator:
        """The input of the card that is shown."""
        return self.page.get_by_label("Your message")

    async def start(self, message: str, responder: str, title: str = "") -> None:
        """Make a card with its first message, and wait until its thread is shown with it."""
        await self.page.locator("#new-card").fill(message)
        await self.page.get_by_role("radio", name=responder).check()
        if title:
            await self.page.get_by_placeholder("Title it yourself").fill(title)
        await self.page.locator("#new-card").press("Enter")
        await expect(self.lines.first).to_contain_text(message)

    async def answered(self, lines: int) -> str:
        """Wait until the thread has so many lines and the card is idle; what the last one says."""
        await expect(self.lines).to_have_count(lines)
        await self.standing("active")
        return await self.lines.last.locator(".body").inner_text()

    async def standing(self, status: str) -> None:
        """Wait until the card that is shown has this status, in its thread and in the list."""
        await expect(self.page.locator(".about .mark")).to_have_attribute("data-status", status)

    async def send(self, message: str) -> None:
        """Write on the card that is shown, behind what waits there, and send it."""
        waiting = await self.draft.input_value()
        await self.draft.fill(waiting + message)
        await self.draft.press("Enter")
        await expect(self.draft).to_have_value("")

    async def open_card(self, title: str) -> None:
        """Show a card's thread."""
        await self.row(title).locator(".row").click()
        await expect(self.page.locator("#card-title")).to_have_text(title)

    async def retitle(self, title: str) -> None:
        """Change the title of the card that is shown, where it stands."""
        await self.page.get_by_role("button", name=re.compile("^(Change the|Give it a) title$")).click()
        await self.page.get_by_label("Title of this card").fill(title)
        await self.page.keyboard.press("Enter")
        await expect(self.page.locator("#card-title")).to_have_text(title)

    async def spent_here(self) -> int:
        """What the card that is shown says it has cost, in base units."""
        return int(await self.page.locator("[data-card-spent]").get_attribute("data-card-spent") or "")

    async def watch_main_view(self) -> None:
        """Note from here on whatever changes in the conversation."""
        await self.page.evaluate(_WATCH)

    async def main_view_changes(self) -> list[str]:
        """The elements of the conversation that changed since."""
        found: list[str] = await self.page.evaluate("window.mainViewChanges")
        return found
