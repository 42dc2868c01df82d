"""Usage logs of sessions long ended, moved out of the books into files that auditors can read.

A log is deleted only once its file is on disk and hashes to the head that the settlement committed.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog
from solders.pubkey import Pubkey

from retainer.protocol.usage import EMPTY_ROOT, chain_hash
from retainer.protocol.usage_log import LogHeader, entry_line
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.terms import session_terms

_log = structlog.get_logger(__name__)

_DAY: Final = 86_400
_PAGE: Final = 1000
_AT_ONCE: Final = 20  # logs for each pass, so that requests go on meanwhile


class Archive:
    """Keeps logs for ``days`` after a session's end, then in ``folder``/SESSION.jsonl, as `export` writes them."""

    def __init__(self, *, ledger: Ledger, folder: Path, days: int) -> None:
        self._ledger = ledger
        self._folder = folder
        self._days = days

    async def move(self, now: int) -> int:
        """One pass; how many logs were moved. Killed at any point it loses nothing: a file is written anew."""
        moved = 0
        for session_id in await self._ledger.old_logs(now - self._days * _DAY, limit=_AT_ONCE):
            record = await self._ledger.session(session_id)
            if record is not None and await self._write(record):
                await self._ledger.forget_log(session_id, record.usage_root)
                moved += 1
        return moved

    async def _write(self, record: SessionRecord) -> bool:
        header = LogHeader(Pubkey.from_string(record.session_id), record.operator, record.price, session_terms(record))
        lines, head, after = [header.line()], EMPTY_ROOT, 0
        while page := await self._ledger.usage(record.session_id, after=after, limit=_PAGE):
            for entry in page:
                lines.append(entry_line(entry))
                head = chain_hash(head, entry)
            after = page[-1].sequence
        if head != record.usage_root:
            _log.error("usage_log_not_archived", session=record.session_id, head=head.hex())
            return False
        path = self._folder / f"{record.session_id}.jsonl"
        try:
            await asyncio.to_thread(_keep, path, "\n".join(lines) + "\n")
        except OSError as error:
            _log.error("usage_log_not_archived", session=record.session_id, reason=str(error))
            return False
        _log.info("usage_log_archived", session=record.session_id, head=head.hex(), entries=len(lines) - 1)
        return True


def _keep(path: Path, text: str) -> None:
    """Write a whole file durably, or none."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
