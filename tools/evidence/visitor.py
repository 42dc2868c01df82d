"""A person at the web panel, in a real browser: what evidence does on the page, by what the page shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from playwright.async_api import expect

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

WALLET: Final = "Local test wallet"
PATIENCE_MS: Final = 20_000
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Visitor:
    """One tab. Every method waits until the page shows what it came to."""

    page: Page

    async def visit(self, address: str) -> None:
        """Open the panel and wait until it has heard of the provider."""
        self.page.set_default_timeout(PATIENCE_MS)
        await self.page.goto(address)
        await self.scene("offer", "session", "paying")

    async def scene(self, *kinds: str) -> None:
        """Wait until the panel shows one of these."""
        await expect(self.page.locator("[data-scene]")).to_have_attribute("data-scene", re.compile("|".join(kinds)))

    def hud(self, cell: str) -> Locator:
        """A cell of the head-up display: `state`, `balance`, `asks` or `time`."""
        return self.page.locator(f"[data-hud={cell}]")

    async def sees(self, **cells: str) -> None:
        """Wait until the head-up display says exactly this."""
        for cell, text in cells.items():
            await expect(self.hud(cell)).to_have_text(text)

    def button(self, name: str) -> Locator:
        """A button by the beginning of its name."""
        return self.page.get_by_role("button", name=re.compile(f"^{re.escape(name)}"))

    async def order(self, amount: str) -> None:
        """Type an amount and go on to paying. With a double click, as hasty hands do."""
        await self.page.get_by_label("Another amount").fill(amount)
        await self.button("Fund with").or_(self.button("Top up with")).dblclick()
        await self.scene("paying")

    async def pay(self) -> None:
        """Let the local wallet sign, with a double click, and wait until the money counts."""
        await self.button(f"Pay with {WALLET}").dblclick()
        await self.scene("session")

    async def ask(self, question: str) -> str:
        """Type a question, wait for its answer, and return what it cost."""
        turns = self.page.locator(".turns > li")
        before = await turns.count()
        await self.page.get_by_label("Your question").fill(question)
        await self.page.keyboard.press("Enter")
        await expect(turns).to_have_count(before + 1)
        return await turns.last.locator(".cost").inner_text()

    async def close(self) -> tuple[str, str, str]:
        """Look at the preview, close, and return what went back, what was paid, and the transaction."""
        await self.button("Close and get the rest back").click()
        await self.button("Close it now").dblclick()
        await expect(self.page.get_by_role("heading", name="Session closed")).to_be_visible()
        back, paid, transaction = await self.page.locator(".sheet dd").all_inner_texts()
        return back, paid, transaction
