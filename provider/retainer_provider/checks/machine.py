"""What the machine says of a service that is about to be served: its books, its disk, its upstream."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from retainer.chain.findings import Finding
from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.chosen import check_ledger
from retainer_provider.settings import Settings

# Answers are kept for replay, and a full disk stops the sale.
_LEAST_FREE_BYTES: Final = 512 * 2**20
_CONNECT_SECONDS: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}


async def check_machine(settings: Settings) -> AsyncIterator[Finding]:
    """Check one thing after the other, changing nothing."""
    yield await _ledger(settings)
    if settings.ledger.url is None:
        yield check_disk(settings.service.database, shutil.disk_usage(_folder(settings.service.database)).free)
    if settings.service.upstream is not None:
        yield await check_upstream(settings.service.upstream)


async def _ledger(settings: Settings) -> Finding:
    try:
        return Finding("ledger", ok=True, sentence=await check_ledger(settings))
    except LedgerError as error:
        return Finding("ledger", ok=False, sentence=str(error))


def check_disk(database: Path, free: int) -> Finding:
    """Whether `free` bytes beside the books will do for a while."""
    told = f"{free // 2**20} MiB are free beside {database}"
    if free < _LEAST_FREE_BYTES:
        least = _LEAST_FREE_BYTES // 2**20
        return Finding(
            "disk", ok=False, sentence=f"{told}: free some, {least} MiB at least, or move `database` to another disk"
        )
    return Finding("disk", ok=True, sentence=told)


async def check_upstream(url: str) -> Finding:
    """Whether something listens there; nothing is asked of it, since an answer may cost whoever gives it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return Finding(
            "upstream",
            ok=False,
            sentence=f"nothing listens at {host} port {port}: start the service that is sold, or set `upstream`",
        )
    writer.close()
    return Finding("upstream", ok=True, sentence=f"something listens at {host} port {port}")


def _folder(path: Path) -> Path:
    """The nearest folder that is there: the books' own is made at the first start."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())
