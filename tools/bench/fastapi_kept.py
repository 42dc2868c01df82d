"""fastapi: how much of its unmetered rate a FastAPI app keeps behind the gate, with durable charges."""

from typing import Final

from tools.bench.load.servers import ours
from tools.bench.load.sessions import Mode
from tools.bench.load.steady import Plan, alternate
from tools.bench.result import Result

_PLAN: Final = Plan(rounds=3, seconds=5)
_OPEN: Final = ours("fastapi", None)
_GATED: Final = (ours("fastapi", Mode.METERED), ours("fastapi", Mode.VOUCHER))


async def run(result: Result, _seed: int) -> None:
    """The same app with the same answer, open to everybody and sold."""
    rounds = await alternate([_OPEN, *_GATED], _PLAN)
    rounds.tell(result)
    best = max(_GATED, key=rounds.rate)
    result.at_least("kept behind the gate", rounds.ratio(best, _OPEN), 0.35, "ratio")
    result.note("An app whose handler does nothing: what one does comes on top on both sides, and raises what is kept.")
