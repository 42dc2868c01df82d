"""Requests at an even pace over a few connections, each one's latency taken from when it was due."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tools.bench.load.serving import PATH

_CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Paced:
    """What was sent: how many per second, the 99th percentile in milliseconds, and how often each status came."""

    rate: float
    p99: float
    statuses: Counter[int]


async def paced(url: str, lines: Iterator[str], *, rate: float, seconds: float) -> Paced:
    """Send one of ``lines`` every 1/``rate`` seconds. Who waits for a connection waits: no latency is left out."""
    host, port = url.removeprefix("http://").split(":")
    ready = list(islice(lines, max(1, int(rate * seconds))))
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        free.put_nowait(_Connection(*await asyncio.open_connection(host, int(port))))
    statuses: Counter[int] = Counter()
    latencies = []
    started = time.perf_counter()

    async def ask(line: str, due: float) -> None:
        connection = await free.get()
        statuses[await connection.ask(line)] += 1
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as asking:
        for number, line in enumerate(ready):
            due = started + number / rate
            await asyncio.sleep(due - time.perf_counter())
            asking.create_task(ask(line, due))
    elapsed = time.perf_counter() - started
    while not free.empty():
        free.get_nowait().close()
    return Paced(len(ready) / elapsed, 1000 * statistics.quantiles(latencies, n=100)[-1], statuses)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, line: str) -> int:
        """The status of the answer, read to its end."""
        credential, key = line.rsplit(" ", 1)
        head = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        self._writer.write(f"{head}Authorization: {credential}\r\nIdempotency-Key: {key}\r\n\r\n".encode())
        told = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(told.split(b"content-length: ")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(told.split(b" ")[1])

    def close(self) -> None:
        self._writer.close()
