"""Server processes of both sides, started and ended one at a time."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Final

from tools.bench.load.serving import PATH, PRICE
from tools.bench.load.sessions import Mode, read_sessions, signed_requests
from tools.bench.load.wrk import Load, LoadError, run_wrk

_ROOT: Final = Path(__file__).parents[3]
PEER_PYTHON: Final = _ROOT / ".venv-peer" / "bin" / "python"
_MPPX: Final = _ROOT / "tools" / "bench" / "mppx" / "serving.mjs"
_PEER: Final = _ROOT / "tools" / "bench" / "load" / "peer_serving.py"
_READY_SECONDS: Final = 120
# Among the fields of /proc/PID/stat that follow the program's name.
_USER_TICKS: Final = 11


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its name for the table, the program that serves it, and who authorizes amounts, if anybody.

    ``sessions`` share its requests. One that signs them itself has ``signed`` so many for each load.
    """

    name: str
    program: tuple[str, ...]
    mode: Mode | None
    sessions: int
    signed: int | None = None


def ours(kind: str, mode: Mode | None) -> Side:
    """A `raw` or `fastapi` app behind our gate, or without `mode` behind none."""
    program = (sys.executable, "-m", "tools.bench.load.serving", kind, mode or "open")
    # A session's vouchers must arrive in their order: three times as many sessions as connections see to that.
    sessions = 96 if mode is Mode.VOUCHER else 32
    name = {"raw": "raw ASGI", "fastapi": "FastAPI"}[kind]
    return Side(f"{name}, {mode or 'unmetered'}", program, mode, sessions)


def peers(mode: Mode, sessions: int) -> Side:
    """FastAPI behind the peer's gate."""
    return Side(
        f"the peer's FastAPI, {mode}, {sessions} sessions", (str(PEER_PYTHON), str(_PEER), mode), mode, sessions
    )


def mppx() -> Side:
    """Node behind mppx's session gate: vouchers on Tempo, the nearest that it has to ours on Solana."""
    return Side("mppx's Node app, vouchers on Tempo", ("node", str(_MPPX), Mode.VOUCHER), Mode.VOUCHER, 256, 1_200)


@dataclass(slots=True)
class Served:
    """A running server and the requests that are still to be sent to it; ``most`` of them at a time."""

    url: str
    folder: Path
    lines: Iterator[str]
    process: asyncio.subprocess.Process
    most: int | None = None

    async def load(self, *, seconds: int, connections: int, most: int) -> Load:
        """Load it; LoadError when an answer is not of 2xx, which no figure may hide."""
        most = min(most, self.most or most)
        before = self._processor_seconds()
        load = await run_wrk(
            self.url, PATH, self.lines, self.folder, seconds=seconds, connections=connections, most=most
        )
        if load.refused:
            raise LoadError(f"{load.refused} answers were not of 2xx")
        used = self._processor_seconds() - before
        return replace(load, cpu=1e6 * used / load.answers)

    def _processor_seconds(self) -> float:
        """What the server's process has used of all processors, in user and in kernel mode; 0 where no /proc tells."""
        told = Path(f"/proc/{self.process.pid}/stat")
        if not told.exists():
            return 0.0
        after_name = told.read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(after_name[_USER_TICKS]) + int(after_name[_USER_TICKS + 1])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def served(side: Side) -> AsyncIterator[Served]:
    """Run one side for as long as the block; LoadError with its last words where it does not start."""
    with tempfile.TemporaryDirectory(prefix="retainer-bench-") as name:
        folder = Path(name)
        with (folder / "log").open("wb") as log:
            arguments = ("--folder", name, "--sessions", str(side.sessions))
            process = await asyncio.create_subprocess_exec(*side.program, *arguments, cwd=_ROOT, stdout=log, stderr=log)
        try:
            port = await _port(process, folder)
            lines: Iterator[str] = repeat("")
            if side.signed is not None:
                lines = iter((folder / "signed").read_text(encoding="ascii").splitlines())
            elif side.mode is not None:
                lines = signed_requests(read_sessions(folder / "sessions.json"), side.mode, PRICE, name[-8:])
            yield Served(f"http://127.0.0.1:{port}", folder, lines, process, side.signed)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _port(process: asyncio.subprocess.Process, folder: Path) -> int:
    for _ in range(_READY_SECONDS * 20):
        port = folder / "port"
        if port.exists() and (text := port.read_text(encoding="ascii")):
            return int(text)
        if process.returncode is not None:
            break
        await asyncio.sleep(0.05)
    log = (folder / "log").read_text(encoding="utf-8", errors="replace")
    raise LoadError(f"a server did not start:\n{log[-2000:]}")
