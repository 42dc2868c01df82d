"""The system's Chromium, driven by Playwright: nothing is downloaded, and nothing but pages asks the network."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, ConsoleMessage, Error, Page, Request

# Debian's `chromium` is a script around this one.
_DEBIAN: Final = Path("/usr/lib/chromium/chromium")
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
# Without a sandbox, because root, as in containers, can have none; the pages are our own.
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class BrowserMissingError(Exception):
    """There is no Chromium on this machine."""


def executable() -> str:
    """Where Chromium is; BrowserMissingError says how to get it."""
    found = str(_DEBIAN) if _DEBIAN.is_file() else next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise BrowserMissingError("the web panel is shown in Chromium: apt-get install chromium")
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium with an empty profile while the block runs."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=[*_ARGUMENTS])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Watched:
    """What a page did besides showing itself: the hosts it asked (`host:port`), and what went wrong in its scripts."""

    # No slots: Playwright keeps a note on the object whose method it calls.

    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def on(self, page: Page) -> None:
        """Begin to watch."""
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", self._error)

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("file", "data", "blob"):
            self.hosts.add(address.netloc)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _error(self, error: Error) -> None:
        self.errors.append(str(error))
