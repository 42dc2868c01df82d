"""The ledger section's part over HTTP: the whole service beside bare SQLite, and what it adds to a lone request."""

import asyncio
import statistics
from pathlib import Path
from typing import Final

from tools.bench import bare
from tools.bench.load.servers import ours
from tools.bench.load.sessions import Mode
from tools.bench.load.steady import Plan, Rounds, alternate
from tools.bench.result import Result

_OPEN: Final = ours("raw", None)
_SOLD: Final = ours("raw", Mode.METERED)
_BUSY: Final = Plan(rounds=2, seconds=4)
_ALONE: Final = Plan(rounds=2, seconds=3, connections=1)
# What a request may take beyond one sync of the same disk, in milliseconds.
_BEYOND: Final = 0.3


async def over_http(result: Result, folder: Path) -> None:
    """An app of two lines under uvicorn, sold and free in turns, at 32 connections and at one."""
    before = await asyncio.to_thread(bare.debits_per_second, folder / "bare-before-http")
    busy = await alternate([_OPEN, _SOLD], _BUSY)
    after = await asyncio.to_thread(bare.debits_per_second, folder / "bare-after-http")
    result.told("raw ASGI over HTTP behind our gate", busy.rate(_SOLD), "debits/s", peer=busy.rate(_OPEN))
    result.at_least("ledger over HTTP over bare SQLite", busy.rate(_SOLD) / ((before + after) / 2), 0.25, "ratio")
    sync = await asyncio.to_thread(bare.sync_seconds, folder)
    alone = await alternate([_OPEN, _SOLD], _ALONE)
    sync = (sync + await asyncio.to_thread(bare.sync_seconds, folder)) / 2 * 1000
    added = _p50(alone, sold=True) - _p50(alone, sold=False)
    result.told("one fdatasync, median", sync, "ms")
    result.at_most("added by the gate to the p50 of one connection", added, sync + _BEYOND, "ms")


def _p50(rounds: Rounds, *, sold: bool) -> float:
    return statistics.median(load.p50 for load in rounds.loads[(_SOLD if sold else _OPEN).name])
