"""ledger: durable debits with receipts, hash chain and replay storage, beside the bare writes of the same database."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from solders.keypair import Keypair

from retainer.protocol.signing import Signer
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.local_key import LocalKey
from tools.bench import bare, pgbench
from tools.bench.books import WORKERS, debit, debits, open_session
from tools.bench.ledger_http import over_http
from tools.bench.postgres_processes import PROCESSES, processes
from tools.bench.result import Result
from tools.postgres import postgres

DEBITS: Final = 4_000
ALONE: Final = 500
ROUNDS: Final = 3
# Rounds whose bare writes moved by more than this say more about the machine than about the ledger.
_STEADY: Final = 1.2
_TRIES: Final = 2
_SIGNATURES: Final = 2_000

Rate = Callable[[], Awaitable[float]]


async def run(result: Result, _seed: int) -> None:
    """Rounds of bare writes, debits, bare writes again, for each of the two databases."""
    operator = LocalKey(Keypair())
    with tempfile.TemporaryDirectory(prefix="retainer-bench-") as name:
        folder = Path(name)
        await _sqlite(result, folder, operator)
        await _alone(result, folder, operator)
        await _postgres(result, folder)
        await over_http(result, folder)
    result.spread("one Ed25519 signature of a receipt's length", _signing(operator), "us")
    result.note(
        "Each debit of the ledger is a reservation and a commit with usage entry, hash chain, signed receipt and"
    )
    result.note("stored answer, durable before it returns; a bare one is one guarded UPDATE of a row of three numbers.")
    result.note(f"On PostgreSQL, {PROCESSES} provider processes share a database; each has its part of the requests,")
    result.note("and the sessions that these use.")


async def _sqlite(result: Result, folder: Path, operator: Signer) -> None:
    files, worked = iter(range(1000)), list[float]()

    async def ours() -> float:
        ledger = await SqliteLedger.open(folder / f"ledger-{next(files)}")
        try:
            return await _rate(ledger, operator, worked)
        finally:
            await ledger.aclose()

    async def theirs() -> float:
        return await asyncio.to_thread(bare.debits_per_second, folder / f"bare-{next(files)}")

    rates, beside = await _rounds("SQLite", ours, theirs)
    result.spread("bare SQLite, batches of 32, synchronous=FULL", beside, "debits/s")
    result.spread("SQLite ledger, 32 requests at once", rates, "debits/s")
    result.spread("SQLite ledger, processor time of one debit, in all threads", worked, "us")
    result.at_least("SQLite ledger over bare SQLite", _ratio(rates, beside), 0.5, "ratio")


async def _alone(result: Result, folder: Path, operator: Signer) -> None:
    """One request at a time: what the books add to it, beside one sync of the same disk."""
    ledger = await SqliteLedger.open(folder / "alone")
    try:
        session, taken = await open_session(ledger, operator, 0), []
        sync = await asyncio.to_thread(bare.sync_seconds, folder)
        for number in range(ALONE):
            started = time.perf_counter()
            await debit(ledger, operator, session, number)
            taken.append((time.perf_counter() - started) * 1000)
    finally:
        await ledger.aclose()
    sync = (sync + await asyncio.to_thread(bare.sync_seconds, folder)) / 2 * 1000
    result.told(
        "SQLite ledger, one request alone: median, beside one fdatasync", statistics.median(taken), "ms", peer=sync
    )


async def _postgres(result: Result, folder: Path) -> None:
    with postgres() as url:
        await asyncio.to_thread(pgbench.prepare, url)
        with processes(url, clients=pgbench.CLIENTS, sessions=bare.SESSIONS) as providers:
            numbers, worked = iter(range(0, 1_000_000_000, DEBITS)), list[float]()

            async def ours() -> float:
                started = time.perf_counter()
                taken = await asyncio.to_thread(providers.debit, next(numbers), DEBITS)
                worked.append(sum(taken) / DEBITS)
                return DEBITS / (time.perf_counter() - started)

            async def theirs() -> float:
                return await asyncio.to_thread(pgbench.debits_per_second, url, folder)

            rates, beside = await _rounds("PostgreSQL", ours, theirs)
    result.spread("pgbench, one-statement debits of 32 clients", beside, "debits/s")
    result.spread(f"PostgreSQL ledger, 32 requests at once in {PROCESSES} processes", rates, "debits/s")
    result.spread("PostgreSQL ledger, processor time of one debit, without the server's", worked, "us")
    result.at_least("PostgreSQL ledger over pgbench", _ratio(rates, beside), 0.25, "ratio")


async def _rate(ledger: Ledger, operator: Signer, worked: list[float]) -> float:
    """Debits per second; ``worked`` gets the microseconds of processor time that one took."""
    sessions = [await open_session(ledger, operator, salt) for salt in range(bare.SESSIONS)]
    before = time.process_time()
    taken = await debits(ledger, operator, lambda number: sessions[number % len(sessions)], range(DEBITS))
    worked.append((time.process_time() - before) / DEBITS * 1e6)
    return DEBITS / taken


async def _rounds(name: str, ours: Rate, theirs: Rate) -> tuple[list[float], list[float]]:
    """Our rates, and the means of theirs before and after; a round around which theirs moved is run again."""
    rates, beside = [], []
    for number in range(ROUNDS):
        for _ in range(_TRIES):
            print(f"  {name}, {WORKERS} at once: round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
            before, rate, after = await theirs(), await ours(), await theirs()
            if max(before, after) <= _STEADY * min(before, after):
                break
        rates.append(rate)
        beside.append((before + after) / 2)
    return rates, beside


def _ratio(rates: list[float], beside: list[float]) -> float:
    return statistics.median(rate / other for rate, other in zip(rates, beside, strict=True))


def _signing(operator: Signer) -> list[float]:
    message, taken = bytes(900), []
    for _ in range(_SIGNATURES):
        started = time.perf_counter()
        operator.sign_message(message)
        taken.append((time.perf_counter() - started) * 1e6)
    return taken
