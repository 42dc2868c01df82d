"""F11, F23: whenever the process dies or the power goes, what was acknowledged is in the books, and they add up."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from retainer.protocol.usage import usage_root
from retainer_provider.books.outcomes import ReserveOutcome
from retainer_provider.books.stores import sqlite_file
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import commit_of, held, open_session, reserve
from tests.disks import PowerCutDisk

ROOT = Path(__file__).parents[3]


async def require_sound(path: Path, session_id: str, acknowledged: dict[str, str]) -> int:
    """Open the books and check them against what was acknowledged (key to receipt); returns the requests in them."""
    ledger = await SqliteLedger.open(path)
    try:
        session = await ledger.session(session_id)
        assert session is not None
        log = await ledger.usage(session_id, limit=1_000_000)
        assert [entry.sequence for entry in log] == list(range(1, session.sequence + 1))
        assert usage_root(log) == session.usage_root
        assert sum(entry.amount for entry in log) == session.spent <= session.deposit
        assert session.reserved == 0
        for name, receipt in acknowledged.items():
            again = await reserve(ledger, session_id, name)
            assert again.outcome is ReserveOutcome.REPLAY, f"{name} was acknowledged, and is {again.outcome}"
            assert again.answer is not None
            assert again.answer.receipt == receipt
    finally:
        await ledger.aclose()
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    answers, requests = connection.execute("SELECT (SELECT count(*) FROM answer), (SELECT count(*) FROM usage)").get
    connection.close()
    assert answers == requests == len(log), "each charge has its answer, and no answer is without its charge"
    return len(log)


@pytest.mark.row("F11", attack="SIGKILL at any moment", twin="what was acknowledged is in the books")
async def test_a_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path)
    session_id = await open_session(ledger, deposit=2**50)
    await ledger.aclose()
    seed = random.randrange(2**32)
    luck = random.Random(seed)
    acknowledged: dict[str, str] = {}
    worker = [sys.executable, "-m", "tests.ledger_worker", str(path), session_id]
    for round_ in range(12):
        process = await asyncio.create_subprocess_exec(*worker, str(round_), cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(luck.randrange(1, 60)):
            name, receipt = json.loads(await process.stdout.readline())
            acknowledged[name] = receipt
        os.kill(process.pid, signal.SIGKILL)
        # What it had acknowledged and the pipe still holds counts as well; a line cut short does not.
        for line in (await process.stdout.read()).splitlines(keepends=True):
            if line.endswith(b"\n"):
                name, receipt = json.loads(line)
                acknowledged[name] = receipt
        assert await process.wait() == -signal.SIGKILL
        assert await require_sound(path, session_id, acknowledged) >= len(acknowledged), f"seed {seed}"


@pytest.mark.row(
    "F23", attack="the power goes at any write", twin="the books open clean with all that was acknowledged"
)
async def test_a_power_cut_at_any_moment_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes that were not synced survive by luck, torn at sectors; the log is folded into the file all the time."""
    monkeypatch.setattr(sqlite_file, "_CHECKPOINT_PAGES", 30)
    seed = random.randrange(2**32)
    luck = random.Random(seed)
    cuts: list[tuple[Path, dict[str, str]]] = []
    acknowledged: dict[str, str] = {}
    disk = PowerCutDisk()
    try:
        ledger = await SqliteLedger.open(tmp_path / "ledger.db")
        session_id = await open_session(ledger, deposit=2**50)

        async def request(name: str) -> None:
            end = commit_of(held(await reserve(ledger, session_id, name)), charged=luck.random() < 0.8)
            answer = (await ledger.commit(end)).answer
            assert answer is not None
            acknowledged[name] = answer.receipt
            if luck.random() < 0.2:
                survivors = tmp_path / f"cut-{len(cuts)}"
                survivors.mkdir()
                cuts.append((survivors, dict(acknowledged)))
                await asyncio.to_thread(disk.cut, survivors, luck)

        for burst in range(25):
            await asyncio.gather(*(request(f"{burst}-{number}") for number in range(luck.randrange(1, 10))))
        await ledger.aclose()
    finally:
        disk.remove()
    assert cuts, f"seed {seed} cut nothing"
    for survivors, promised in cuts:
        assert await require_sound(survivors / "ledger.db", session_id, promised) >= len(promised), f"seed {seed}"
