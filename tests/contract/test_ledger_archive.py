"""Old usage logs leave the books, on every store: for a file that an auditor can read, and only when it is there."""

from pathlib import Path

import pytest

from retainer.protocol.usage import UsageEntry, usage_root
from retainer.protocol.usage_log import read_log
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.settling.archive import Archive
from tests.books import DEPOSIT, NOW, PRICE, ask, open_session

DAY = 86_400


async def ended(ledger: Ledger, salt: int, requests: int = 3) -> SessionRecord:
    """A session with so many requests, settled at NOW."""
    session_id = await open_session(ledger, salt)
    for number in range(requests):
        await ask(ledger, session_id, f"{number}")
    await ledger.begin_close(session_id, "asked", NOW)
    spent = requests * PRICE
    await ledger.record_settled(session_id, "5" * 88, spent, DEPOSIT - spent, NOW)
    record = await ledger.session(session_id)
    assert record is not None
    return record


def archive_of(ledger: Ledger, folder: Path) -> Archive:
    return Archive(ledger=ledger, folder=folder / "archive", days=7)


async def test_a_log_moves_once_its_days_are_over(ledger: Ledger, tmp_path: Path) -> None:
    old, running = await ended(ledger, 1), await open_session(ledger, 2)
    await ask(ledger, running, "asked")
    archive = archive_of(ledger, tmp_path)
    assert await archive.move(NOW + 7 * DAY) == 0
    assert len(await ledger.usage(old.session_id)) == 3
    assert await archive.move(NOW + 7 * DAY + 1) == 1
    assert await ledger.usage(old.session_id) == []
    assert len(await ledger.usage(running)) == 1
    with (tmp_path / "archive" / f"{old.session_id}.jsonl").open(encoding="utf-8") as lines:
        header, entries = read_log(lines)
        assert (str(header.session), header.price) == (old.session_id, PRICE)
        assert usage_root(entries) == old.usage_root
    assert await archive.move(NOW + 30 * DAY) == 0
    kept = await ledger.session(old.session_id)
    assert kept == old, "what was settled stays in the books"


async def test_a_log_whose_file_cannot_be_written_stays(ledger: Ledger, tmp_path: Path) -> None:
    old = await ended(ledger, 1)
    (tmp_path / "archive").write_text("a file where the folder should be")
    assert await archive_of(ledger, tmp_path).move(NOW + 30 * DAY) == 0
    assert len(await ledger.usage(old.session_id)) == 3


async def test_a_log_that_does_not_hash_to_its_head_stays(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await ended(ledger, 1)
    entries = list(await ledger.usage(old.session_id))

    async def without_the_last(_session: str, *, after: int = 0, limit: int = 1000) -> list[UsageEntry]:
        return [entry for entry in entries[:-1] if entry.sequence > after][:limit]

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "usage", without_the_last)
        assert await archive_of(ledger, tmp_path).move(NOW + 30 * DAY) == 0
    assert len(await ledger.usage(old.session_id)) == 3
    assert await ledger.forget_log(old.session_id, bytes(32)) == 0
