"""The panel in Chromium before the real provider, program and validator, with a wallet that does as a test says."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect
from solders.keypair import Keypair
from starlette.types import ASGIApp

from tests.browser_wallet import BrowserWallet
from tools import oracle, panel
from tools.browser import Watched, chromium
from tools.evidence.visitor import Visitor
from tools.stage import Stage, stage

SLOT_MS: Final = 50
DEPOSIT: Final = 1_000_000


@dataclass
class Shop:
    """A provider with a panel, and browsers to visit it with."""

    stood: Stage
    browser: Browser

    async def wallet(self, tokens: str = "5.0", lamports: int = 1_000_000_000) -> BrowserWallet:
        """A wallet with so much in it."""
        return BrowserWallet(await self.stood.new_agent(tokens, lamports))

    async def sending_wallet(self) -> BrowserWallet:
        """One that sends what it signs, and does nothing less."""
        wallet = await self.wallet()
        wallet.send = self.stood.chain.send
        return wallet

    async def visit(self, wallet: BrowserWallet) -> "Guest":
        """Open the panel in a browser that knows nothing yet."""
        context, watched = await self.browser.new_context(), Watched()
        context.on("page", watched.on)
        await wallet.join(context)
        guest = Guest(Visitor(await context.new_page()), wallet, context, watched)
        await guest.visitor.visit(panel.address(self.stood))
        return guest

    async def holding_wallet(self) -> tuple[BrowserWallet, list[bytes]]:
        """One that says that it has sent what it signed, and keeps it here until the test sends it."""
        wallet, held = await self.wallet(), list[bytes]()

        async def hold(raw: bytes) -> None:
            held.append(raw)

        wallet.send = hold
        return wallet, held

    async def paid(self, wallet: Keypair, had: int) -> int:
        """What a wallet that `had` so much has paid, on chain, in base units."""
        return had - await self.stood.balance(wallet.pubkey())


@dataclass
class Guest:
    """A person with a browser and a wallet."""

    visitor: Visitor
    wallet: BrowserWallet
    context: BrowserContext
    watched: Watched

    async def choose_wallet(self) -> None:
        """Click on the button that pays by the wallet."""
        await self.visitor.button(f"Pay with {self.wallet.name}").click()

    async def fund(self, amount: str = "1.0") -> None:
        """Pay for a session, and wait until it is open."""
        await self.visitor.order(amount)
        await self.choose_wallet()
        await self.visitor.scene("session")

    async def reads(self, *words: str) -> None:
        """Wait until the page says this, anywhere in sight."""
        for said in words:
            await expect(self.visitor.page.get_by_text(said).first).to_be_visible()

    async def kept(self) -> str | None:
        """What the browser keeps of a session."""
        kept: str | None = await self.visitor.page.evaluate("localStorage.getItem('retainer.session')")
        return kept


@asynccontextmanager
async def opened(
    folder: Path,
    browser: Browser,
    *,
    offers: str = "",
    service: Mapping[str, str | int] | None = None,
    app: ASGIApp | None = None,
) -> AsyncIterator[Shop]:
    """A shop while the block runs; `app` is what it sells, `offers` and `service` how."""
    settings = offers or panel.offers(free=0)
    async with (
        oracle.running(app) as upstream,
        stage(folder, upstream=upstream, offers=settings, slot_ms=SLOT_MS, service=service) as stood,
    ):
        yield Shop(stood, browser)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One provider for a module's tests: each brings a wallet and a browser of its own."""
    async with opened(tmp_path_factory.mktemp("shop"), browser) as running:
        yield running
