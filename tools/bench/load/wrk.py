"""Running wrk over requests that are each sent once."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

_SCRIPT: Final = Path(__file__).with_name("once.lua")


class LoadError(Exception):
    """A run whose figures mean nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run came to: answers per second, latencies in milliseconds, how many answers, and how many not of 2xx.

    ``cpu`` is processor time of the server's process per answer, in microseconds; 0 where nobody tells it.
    """

    rate: float
    p50: float
    p99: float
    answers: int
    refused: int
    cpu: float = 0.0


async def run_wrk(
    url: str, path: str, lines: Iterator[str], folder: Path, *, seconds: int, connections: int, most: int
) -> Load:
    """Send lines for so many ``seconds``, ``most`` of them at most; LoadError where wrk or a connection fails."""
    if shutil.which("wrk") is None:
        raise LoadError("wrk is not installed: apt-get install wrk")
    requests = folder / "requests"
    await asyncio.to_thread(_write, requests, islice(lines, most))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=30s", f"-s{_SCRIPT}", url, "--"]
    process = await asyncio.create_subprocess_exec(
        *command, str(requests), path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, figures = await process.communicate()
    requests.unlink()
    try:
        told = json.loads(figures)
    except ValueError:
        raise LoadError(f"wrk did not run: {said.decode()[-500:]}{figures.decode()[-500:]}") from None
    if told["broken"] or not told["requests"]:
        raise LoadError(f"{told['broken']} connections broke, {told['requests']} requests were answered")
    return Load(told["requests"] / told["seconds"], told["p50"], told["p99"], told["requests"], told["refused"])


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lines)
