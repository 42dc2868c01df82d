"""Sides measured in turns in one run, and a machine whose own pace is watched meanwhile."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.bench.bare import debits_per_second
from tools.bench.load.servers import Served, Side, served
from tools.bench.load.wrk import Load
from tools.bench.result import Result

CONNECTIONS: Final = 32
# A pair between whose ends the bare writes moved by more says more about the machine than about either side.
_STEADY: Final = 1.2
_TRIES: Final = 2
# A section takes ten minutes at most, on a busy machine too: what is run again has to begin early.
_AGAIN_SECONDS: Final = 120
# Requests to have ready for a second of warming up: more than any server answers in one.
_MOST_WARM: Final = 60_000


@dataclass(frozen=True, slots=True)
class Plan:
    """So many ``rounds`` of so many ``seconds`` for each side."""

    rounds: int = 3
    seconds: int = 5
    connections: int = CONNECTIONS


@dataclass(slots=True)
class Rounds:
    """What the sides came to, by their names, in the order of the rounds."""

    loads: dict[str, list[Load]] = field(default_factory=dict)
    moved: list[float] = field(default_factory=list)

    def rate(self, side: Side) -> float:
        """The median of a side's answers per second."""
        return statistics.median(load.rate for load in self.loads[side.name])

    def ratio(self, side: Side, other: Side) -> float:
        """The median of the ratios of two sides' rates, round by round."""
        pairs = zip(self.loads[side.name], self.loads[other.name], strict=True)
        return statistics.median(one.rate / two.rate for one, two in pairs)

    def tell(self, result: Result) -> None:
        """Every side's rate with its range, and how much the machine itself moved."""
        for name, loads in self.loads.items():
            result.spread(f"{name}: answers", [load.rate for load in loads], "1/s")
            if all(load.cpu for load in loads):
                result.spread(f"{name}: processor time of the server per answer", [load.cpu for load in loads], "us")
        result.spread("bare SQLite before over after a round", self.moved, "ratio")


async def alternate(sides: Sequence[Side], plan: Plan) -> Rounds:
    """Measure the sides in turns. A round during which the machine's own pace moved by over 20 % is run again."""
    rounds, began = Rounds({side.name: [] for side in sides}), time.monotonic()
    for number in range(plan.rounds):
        for attempt in range(_TRIES):
            before = await asyncio.to_thread(_own_pace)
            loads = [await _measured(side, plan) for side in sides]
            moved = before / await asyncio.to_thread(_own_pace)
            if 1 / _STEADY <= moved <= _STEADY:
                break
            print(f"  round {number + 1}: the machine's own pace moved by {moved:.2f}", file=sys.stderr, flush=True)
            if attempt + 1 == _TRIES or time.monotonic() - began > _AGAIN_SECONDS:
                break
            print("  so it is run again", file=sys.stderr, flush=True)
        rounds.moved.append(moved)
        for side, load in zip(sides, loads, strict=True):
            rounds.loads[side.name].append(load)
    return rounds


async def _measured(side: Side, plan: Plan) -> Load:
    async with served(side) as server:
        load = await loaded(server, plan)
    print(
        f"  {side.name}: {load.rate:,.0f}/s, p99 {load.p99:,.1f} ms, {load.cpu:,.0f} us of processor each",
        file=sys.stderr,
        flush=True,
    )
    return load


async def loaded(server: Served, plan: Plan) -> Load:
    """A second of load that warms the server and tells how many requests to sign, then the load that counts."""
    if server.most is not None:  # it has warmed itself, and signed what it can answer
        return await server.load(seconds=plan.seconds, connections=plan.connections, most=server.most)
    warm = await server.load(seconds=1, connections=plan.connections, most=_MOST_WARM)
    most = int(3 * warm.rate * plan.seconds) + 2_000
    return await server.load(seconds=plan.seconds, connections=plan.connections, most=most)


def _own_pace() -> float:
    with tempfile.TemporaryDirectory(prefix="retainer-bench-") as folder:
        return debits_per_second(Path(folder) / "bare.sqlite")
