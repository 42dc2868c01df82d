"""Provider processes on one PostgreSQL database, each with its part of the clients and the sessions that these use."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Final

import uvloop
from solders.keypair import Keypair

from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.local_key import LocalKey
from tools.bench.books import debits, open_session

PROCESSES: Final = 2


class Processes:
    """Ledgers that run and wait to be told what to do."""

    def __init__(self, running: Sequence["subprocess.Popen[str]"]) -> None:
        self._running = running

    def debit(self, first: int, number: int) -> list[int]:
        """Let all begin at once with their parts of so many debits, from ``first``; gives each one's processor time.

        That is in microseconds, of all that it debited. RuntimeError where one of them did not end well.
        """
        part = number // len(self._running)
        for place, process in enumerate(self._running):
            _pipe(process.stdin).write(f"{first + place * part} {part}\n")
            _pipe(process.stdin).flush()
        return [int(_line(process)) for process in self._running]


@contextmanager
def processes(url: str, *, clients: int, sessions: int) -> Iterator[Processes]:
    """So many clients and sessions in all, divided among the processes."""
    with ExitStack() as stack:
        running = []
        for place in range(PROCESSES):
            command = (sys.executable, "-m", __name__, url, str(clients // PROCESSES), str(sessions // PROCESSES))
            process = subprocess.Popen((*command, str(place)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(_pipe(process.stdin).close)  # which ends it
            running.append(process)
        for process in running:
            _line(process)
        yield Processes(running)


async def _serve(url: str, clients: int, sessions: int, place: int) -> None:
    """One of the processes: a line when it is ready, and one for each line that it is told to do."""
    operator = LocalKey(Keypair())
    ledger = await PostgresLedger.open(url)
    try:
        mine = [await open_session(ledger, operator, place * sessions + salt) for salt in range(sessions)]
        print("ready", flush=True)
        while told := await asyncio.to_thread(sys.stdin.readline):
            first, number = map(int, told.split())
            before = time.process_time_ns()
            wanted = range(first, first + number)
            await debits(ledger, operator, lambda debit: mine[debit % sessions], wanted, workers=clients)
            print((time.process_time_ns() - before) // 1000, flush=True)
    finally:
        await ledger.aclose()


def _line(process: "subprocess.Popen[str]") -> str:
    line = _pipe(process.stdout).readline()
    if not line:
        raise RuntimeError(f"a provider process ended with status {process.wait()}")
    return line


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise TypeError("the process has no pipe")
    return pipe


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], *map(int, sys.argv[2:])))
