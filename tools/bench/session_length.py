"""session-length: what a request costs late in a long session, and among many open ones, beside early and few."""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from solders.keypair import Keypair

from retainer.protocol.signing import Signer
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.local_key import LocalKey
from tools.bench.books import debits
from tools.bench.many import bulk_book
from tools.bench.result import Result

EARLY, LATE = 1_000, 1_000_000
FEW, MANY = 64, 100_000
# Short histories soon are long ones: there are several, and each is asked ten blocks around its thousandth request.
SHORT, BLOCK, BLOCKS = 8, 100, 80
LIMIT: Final = 1.15
# Keys of the measured requests begin here: beyond all that the books know.
_FIRST: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Books:
    """An open ledger and its sessions, which are asked in turn, ``stride`` requests each time."""

    name: str
    ledger: SqliteLedger
    sessions: Sequence[str]
    stride: int

    async def block(self, operator: Signer, number: int) -> float:
        """Milliseconds for one request of the block, whose requests come 32 at once."""

        def session_of(request: int) -> str:
            return self.sessions[request // self.stride % len(self.sessions)]

        first = _FIRST + number * BLOCK
        return await debits(self.ledger, operator, session_of, range(first, first + BLOCK)) / BLOCK * 1000


async def run(result: Result, seed: int) -> None:
    """Both comparisons; their blocks alternate, so that whatever else the machine does befalls both sides."""
    operator, rng = LocalKey(Keypair()), Random(seed)  # noqa: S311 - addresses of nobody, repeatable by seed
    around = BLOCK * BLOCKS // 2
    with tempfile.TemporaryDirectory(prefix="retainer-bench-") as name:
        folder = Path(name)

        async def book(name: str, sessions: int, requests: int, stride: int) -> Books:
            print(f"  writing {sessions:,} sessions of {requests:,} requests", file=sys.stderr, flush=True)
            file = folder / f"{sessions}-{requests}"
            ids = await bulk_book(file, operator, sessions=sessions, requests=requests, rng=rng)
            rng.shuffle(ids)
            return Books(name, await SqliteLedger.open(file), ids, stride)

        early = await book(f"around request {EARLY:,}", SHORT, EARLY - around // SHORT, BLOCK)
        late = await book(f"around request {LATE:,}", 1, LATE - around, BLOCK)
        await _compare(result, operator, (early, late))
        few = await book(f"among {FEW} open sessions", FEW, 1, 1)
        many = await book(f"among {MANY:,} open sessions", MANY, 1, 1)
        await _compare(result, operator, (few, many))
    result.note("The histories were written in bulk, in the shape of real rows; the measured requests are ordinary:")
    result.note(f"reserved, chained, receipted, kept and durable, 32 at once, in {BLOCKS} blocks of {BLOCK} by turns.")


async def _compare(result: Result, operator: Signer, sides: tuple[Books, Books]) -> None:
    small, large = (books.name for books in sides)
    costs: tuple[list[float], list[float]] = ([], [])
    try:
        for number in range(BLOCKS):
            for side in (0, 1) if number % 2 else (1, 0):
                costs[side].append(await sides[side].block(operator, number))
    finally:
        for books in sides:
            await books.ledger.aclose()
    result.spread(f"{large}: one request", costs[1], "ms")
    result.spread(f"{small}: one request", costs[0], "ms")
    ratio = statistics.median(costs[1]) / statistics.median(costs[0])
    result.at_most(f"{large}: median cost over that {small}", ratio, LIMIT, "ratio")
