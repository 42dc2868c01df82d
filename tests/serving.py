"""`retainer-provider` as people run it: the command in processes of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

# Of a process that hangs: one that ends is noticed at once, and a busy machine takes its time.
_READY_SECONDS = 120
_STOP_SECONDS = 40


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: exit status, and what it said."""

    status: int
    out: str
    err: str


async def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Run a `retainer-provider` command to its end."""
    process = await _start(*arguments, environ=environ)
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


@dataclass(slots=True)
class Serving:
    """A running `retainer-provider serve`."""

    process: asyncio.subprocess.Process
    url: str
    log: list[str]

    async def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), _STOP_SECONDS)

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def serving(config: Path, environ: Mapping[str, str] | None = None) -> AsyncIterator[Serving]:
    """Serve until the block ends, on a free port; what it logs is kept."""
    process = await _start("serve", "--config", str(config), "--port", "0", environ=environ)
    log: list[str] = []
    reading = asyncio.ensure_future(_keep(process, log))
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), _READY_SECONDS)
        assert line.startswith(b"serving http://"), (line, log)
        yield Serving(process, line.split()[1].decode(), log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _start(*arguments: str, environ: Mapping[str, str] | None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retainer_provider", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environ or {})},
    )


async def _keep(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        log.append(line.decode())


def client(url: str) -> httpx.AsyncClient:
    """An HTTP client for one service."""
    return httpx.AsyncClient(base_url=url, timeout=60)
