"""flood: an honest client's latency while others send bad signatures at a quarter of the gate's capacity."""

import asyncio
import statistics
import sys
from http import HTTPStatus
from typing import Final

from tools.bench.load.paced import paced
from tools.bench.load.servers import ours, served
from tools.bench.load.serving import PRICE
from tools.bench.load.sessions import Mode, forged_requests, read_sessions
from tools.bench.load.steady import Plan, loaded
from tools.bench.result import Result

_ROUNDS: Final = 3
_SECONDS: Final = 6
_SHARE: Final = 0.25
_HONEST: Final = 50  # requests per second


async def run(result: Result, seed: int) -> None:
    """In each round: the gate's capacity, the honest client alone, and again under the flood."""
    ratios, alone, flooded, floods = [], [], [], []
    for mode in Mode:
        for number in range(_ROUNDS):
            async with served(ours("fastapi", mode)) as server:
                sessions = read_sessions(server.folder / "sessions.json")
                capacity = (await loaded(server, Plan(seconds=3))).rate
                quiet = await paced(server.url, server.lines, rate=_HONEST, seconds=_SECONDS)
                flood = asyncio.create_task(
                    paced(
                        server.url,
                        forged_requests(sessions, mode, PRICE, str(seed)),
                        rate=capacity * _SHARE,
                        seconds=_SECONDS + 1,
                    )
                )
                under = await paced(server.url, server.lines, rate=_HONEST, seconds=_SECONDS)
                sent = await flood
            if quiet.statuses.keys() | under.statuses.keys() != {HTTPStatus.OK} or HTTPStatus.OK in sent.statuses:
                raise RuntimeError(f"an honest request was refused or a forged one served: {quiet} {under} {sent}")
            alone.append(quiet.p99)
            flooded.append(under.p99)
            floods.append(sent.rate)
            ratios.append(under.p99 / quiet.p99)
            print(
                f"  {mode}, round {number + 1}: {sent.rate:,.0f} bad signatures per second of {capacity:,.0f} possible "
                f"requests; honest p99 {quiet.p99:.1f} ms, then {under.p99:.1f} ms",
                file=sys.stderr,
                flush=True,
            )
    result.spread("bad signatures sent", floods, "1/s")
    result.spread("honest p99, alone", alone, "ms")
    result.spread("honest p99, under the flood", flooded, "ms")
    result.at_most("honest p99 under the flood over alone, median", statistics.median(ratios), 2, "ratio")
    result.note(
        "Bad signatures: well-formed credentials for challenges of this service, of sessions that are open, signed"
    )
    result.note(
        "by another key; sent at a quarter of the rate at which the same server answered good ones just before."
    )
