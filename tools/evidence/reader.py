"""Somebody who types what a page says, and reads what is printed."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path

ADDRESS: Final = r"([1-9A-HJ-NP-Za-km-z]{32,44})"
# What the reader puts in for a word in capitals: what was printed after this.
PRINTED: Final = {
    "MINT": re.compile(rf"token TEST\s+{ADDRESS}"),
    "AGENT": re.compile(rf"^{ADDRESS}\nwritten to \S*agent", re.MULTILINE),
    "PROGRAM": re.compile(rf"^{ADDRESS}\nwritten to \S*program", re.MULTILINE),
    "OPERATOR": re.compile(rf"operator and payee: {ADDRESS}"),
    "SESSION": re.compile(rf"\bsession {ADDRESS}"),
}
# What tells that a terminal's program is ready for the next command.
READY: Final = {"scripts/localnet": "Ctrl-C stops it", "uvicorn": "running on", "retainer-provider serve": "serving "}
# The first terminal sets up a whole environment.
_READY_SECONDS: Final = 900


def free_ports(documented: Iterable[str]) -> dict[str, str]:
    """Free ports for those that a page names; the one after each is free as well, for a websocket."""
    chosen: dict[str, str] = {}
    with ExitStack() as held:
        for port in documented:
            while port not in chosen:
                try:
                    first = held.enter_context(socket.create_server(("127.0.0.1", 0)))
                    number = first.getsockname()[1]
                    held.enter_context(socket.create_server(("127.0.0.1", number + 1)))
                except (OSError, OverflowError):
                    continue
                chosen[port] = str(number)
    return chosen


@dataclass(slots=True)
class Reader:
    """Types in `place`, with `home` as the home folder and nothing in the environment but `environ` and a PATH.

    `ports` are this machine's free ones for those that the page names.
    """

    place: Path
    home: Path
    path: Path
    ports: Mapping[str, str]
    environ: Mapping[str, str]
    printed: str = ""
    ran: list[tuple[str, int]] = field(default_factory=list)

    def puts_in(self, commands: str) -> str:
        """The commands with free ports, and with what was printed for the words in capitals."""
        for word in PRINTED:
            if re.search(rf"\b{word}\b", commands):
                commands = re.sub(rf"\b{word}\b", self.told(word) or word, commands)
        for documented, free in self.ports.items():
            commands = commands.replace(documented, free)
        # Beside a validator of the developer's own, whose faucet this must not use.
        return commands.replace("scripts/localnet", f"scripts/localnet --state {self.home / 'localnet.json'}")

    def told(self, word: str) -> str | None:
        """What was printed last for a word in capitals."""
        found = PRINTED[word].findall(self.printed)
        return found[-1] if found else None

    async def run(self, commands: str) -> int:
        """Type the commands and wait for their end."""
        process = await self._start(commands)
        out, _ = await process.communicate()
        self.printed += out.decode(errors="replace")
        self.ran.append((commands.strip(), process.returncode or 0))
        return process.returncode or 0

    @asynccontextmanager
    async def terminal(self, commands: str) -> AsyncIterator[bool]:
        """Type the commands into a terminal of their own; True once they say that they are ready, False if they end."""
        process = await self._start(f"exec {commands}")
        sign = next(said for command, said in READY.items() if command in commands)
        reading = asyncio.create_task(self._read(process, sign))
        try:
            ready = await asyncio.wait_for(reading, _READY_SECONDS)
            if not ready:
                self.ran.append((commands, await process.wait() or 1))
            rest = asyncio.create_task(self._read(process, None))
            yield ready
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 60)
            await rest
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _read(self, process: asyncio.subprocess.Process, until: str | None) -> bool:
        """Whether it has said that, before its end."""
        if process.stdout is None:
            return False
        while line := (await process.stdout.readline()).decode(errors="replace"):
            self.printed += line
            if until is not None and until in line:
                return True
        return False

    async def _start(self, commands: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", commands),
            cwd=self.place,
            env={"PATH": f"{self.path}:{os.environ['PATH']}", "HOME": str(self.home), **self.environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
