"""first-hour: docs/deploying.md followed to the letter, against a fresh validator."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from solders.pubkey import Pubkey

from retainer.chain.rpc import RpcChain
from retainer.chain.testing import token_balance
from tools.evidence.clones import ROOT
from tools.stage import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tools.evidence.report import Report

PAGE: Final = ROOT / "docs" / "deploying.md"
STEP: Final = re.compile(r"<!-- first-hour: (terminal|run) -->\n```sh\n(.*?)```", re.DOTALL)
ADDRESS: Final = r"([1-9A-HJ-NP-Za-km-z]{32,44})"
# What the reader puts in for a word in capitals: what was printed after this.
PRINTED: Final = {
    "MINT": re.compile(rf"token TEST\s+{ADDRESS}"),
    "AGENT": re.compile(rf"^{ADDRESS}\nwritten to", re.MULTILINE),
    "OPERATOR": re.compile(rf"operator and payee: {ADDRESS}"),
    "SESSION": re.compile(rf"\bsession {ADDRESS}"),
}
# What tells that a terminal's program is ready for the next command.
READY: Final = {"scripts/localnet": "Ctrl-C stops it", "uvicorn": "running on", "retainer-provider serve": "serving "}
STEPS: Final = ("init", "check", "verify-program", "serve", "doctor", "ask", "top-up", "close")
# Three requests at 0.008; the faucet gave both of them 100.
FAUCET, PAID = 100_000_000, 24_000


@dataclass(slots=True)
class Reader:
    """Somebody who types what the page says, in a home of their own, and reads what is printed."""

    home: Path
    ports: dict[str, str]
    printed: str = ""
    ran: list[tuple[str, int]] = field(default_factory=list)

    def puts_in(self, commands: str) -> str:
        """The commands with this machine's free ports, and with what was printed for the words in capitals."""
        for word, pattern in PRINTED.items():
            if re.search(rf"\b{word}\b", commands):
                found = pattern.findall(self.printed)
                commands = re.sub(rf"\b{word}\b", found[-1] if found else word, commands)
        for documented, free in self.ports.items():
            commands = commands.replace(documented, free)
        # Beside a validator of the developer's own, whose faucet this must not use.
        return commands.replace("scripts/localnet", f"scripts/localnet --state {self.home / 'localnet.json'}")

    @property
    def environment(self) -> dict[str, str]:
        """Of every command; the ports stand in for the defaults that the page relies on."""
        rpc = f"http://127.0.0.1:{self.ports['8899']}"
        return {
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "RETAINER_RPC_URL": rpc,
            "RETAINER_KEYPAIR": str(self.home / "agent.json"),
            "RETAINER_PROVIDER_RPC_URL": rpc,
            "RETAINER_PROVIDER_UPSTREAM": f"http://127.0.0.1:{self.ports['9000']}",
            "RETAINER_PROVIDER_PORT": self.ports["8402"],
        }

    async def run(self, commands: str) -> int:
        """Type the commands and wait for their end."""
        process = await self._start(commands)
        out, _ = await process.communicate()
        self.printed += out.decode(errors="replace")
        self.ran.append((commands.strip(), process.returncode or 0))
        return process.returncode or 0

    @asynccontextmanager
    async def terminal(self, commands: str) -> AsyncIterator[None]:
        """Type the commands into a terminal of their own, and go on when they say that they are ready."""
        if commands.startswith("scripts/localnet"):
            commands = f"{commands} --port {self.ports['8899']} --slot-ms 100"
        process = await self._start(f"exec {commands}")
        ready = next(said for command, said in READY.items() if command in commands)
        reading = asyncio.create_task(self._read(process, ready))
        try:
            await asyncio.wait_for(reading, 120)
            rest = asyncio.create_task(self._read(process, None))
            yield
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)
            await rest
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _read(self, process: asyncio.subprocess.Process, until: str | None) -> None:
        if process.stdout is None:
            return
        while line := (await process.stdout.readline()).decode(errors="replace"):
            self.printed += line
            if until is not None and until in line:
                return

    async def _start(self, commands: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", commands),
            cwd=ROOT,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


def steps() -> Iterator[tuple[str, str]]:
    """Where, and what: the page's commands in its order."""
    return iter(STEP.findall(PAGE.read_text(encoding="utf-8")))


async def run(report: Report) -> None:
    """Follow the page; then count the tokens on chain."""
    if report.sabotage:
        report.plant("the reader leaves out the line that sends the operator SOL")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="retainer-first-hour-") as folder:
        reader = Reader(Path(folder), {documented: str(free_port()) for documented in ("8899", "8402", "9000")})
        async with AsyncExitStack() as terminals:
            for where, commands in steps():
                if report.sabotage and "faucet OPERATOR" in commands:
                    continue
                typed = reader.puts_in(commands)
                for line in typed.strip().splitlines():
                    report.step(f"$ {line}")
                if where == "terminal":
                    await terminals.enter_async_context(reader.terminal(typed.strip()))
                elif status := await reader.run(typed):
                    report.step(f"ended with status {status}; printed last:\n{reader.printed[-1500:]}")
                    break
            typed_all = "\n".join(commands for commands, _ in reader.ran)
            report.equal("commands that failed", [commands for commands, status in reader.ran if status], [])
            missing = [step for step in STEPS if step not in typed_all and step != "serve"]
            report.equal("steps that were not reached", missing, [])
            if not missing:
                await count(report, reader)
    report.told("seconds, from a set-up clone to the settlement", round(time.monotonic() - started, 1))
    report.fact("commands", reader.ran)
    report.fact("printed", reader.printed.splitlines())


async def count(report: Report, reader: Reader) -> None:
    """What the three requests cost, by the chain's own word."""
    mint, agent, operator = (
        Pubkey.from_string(PRINTED[word].findall(reader.printed)[-1]) for word in ("MINT", "AGENT", "OPERATOR")
    )
    async with RpcChain(reader.environment["RETAINER_RPC_URL"]) as chain:
        report.equal(
            "base units that the operator was paid", int(await token_balance(chain, operator, mint)) - FAUCET, PAID
        )
        report.equal("base units that the agent spent", FAUCET - int(await token_balance(chain, agent, mint)), PAID)
