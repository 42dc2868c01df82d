"""first-hour: README and docs/deploying.md followed to the letter, on localnet and on a stand-in for devnet."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from solders.pubkey import Pubkey

from retainer.chain.rpc import RpcChain
from retainer.chain.testing import token_balance
from tools.evidence.checks.wheel import build, install
from tools.evidence.clones import ROOT, fresh_clone
from tools.evidence.devnet import TOKENS, devnet
from tools.evidence.reader import Reader, free_ports
from tools.ports import held_port

if TYPE_CHECKING:
    from tools.evidence.report import Report

STEP: Final = re.compile(r"<!-- first-hour: (terminal|run|devnet|devnet terminal) -->\n```sh\n(.*?)```", re.DOTALL)
README_STEPS: Final = re.compile(r"```sh\n(retainer-provider init .*?)```", re.DOTALL)
STEPS: Final = ("init", "check", "verify-program", "serve", "doctor", "ask", "top-up", "close")
# Three requests at 0.008, and the thirty of the README's client; the faucets give 100.
PRICE, ASKED, README_ASKED = 8_000, 3, 30


async def run(report: Report) -> None:
    """Follow the pages; then count the tokens on chain."""
    if report.sabotage:
        report.plant("the reader leaves out the line that sends the operator SOL")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="retainer-first-hour-") as folder, fresh_clone() as fresh:
        # What is set up already spares CI a minute; the pages are the same.
        clone = fresh if report.scale == "full" else ROOT
        report.told("the reader's checkout", "a fresh clone" if clone is fresh else "this one, set up")
        if await on_localnet(report, clone, folder_in(Path(folder), "localnet")):
            await on_devnet(report, clone, folder_in(Path(folder), "devnet"))
    report.told("seconds, from the clone to the settlements", round(time.monotonic() - started, 1))


async def on_localnet(report: Report, clone: Path, home: Path) -> bool:
    """The page's first part, and the README's commands beside it."""
    ports = free_ports(("8899", "8402", "9000"))
    rpc_url = f"http://127.0.0.1:{ports['8899']}"
    environ = {
        "RETAINER_RPC_URL": rpc_url,
        "RETAINER_KEYPAIR": str(home / "agent.json"),
        "RETAINER_PROVIDER_RPC_URL": rpc_url,
        "RETAINER_PROVIDER_UPSTREAM": f"http://127.0.0.1:{ports['9000']}",
        "RETAINER_PROVIDER_PORT": ports["8402"],
    }
    reader = Reader(clone, home, clone / ".venv" / "bin", ports, environ)
    async with AsyncExitStack() as terminals:
        steps = [step for step in page(clone) if not step[0].startswith("devnet")]
        if not await follow(report, reader, steps, terminals):
            return False
        paid = await spent(reader, rpc_url)
        report.equal("base units that three requests cost the agent, and gave the operator", paid, (ASKED * PRICE,) * 2)
        return await follow_readme(report, reader, clone, rpc_url, terminals)


async def follow_readme(report: Report, reader: Reader, clone: Path, rpc_url: str, terminals: AsyncExitStack) -> bool:
    """The README's provider, in a folder of its own, and the README's client before it."""
    found = README_STEPS.search((clone / "README.md").read_text(encoding="utf-8"))
    if found is None:
        report.equal("the README's commands for a provider", "not found", "found")
        return False
    shop = folder_in(reader.home, "readme")
    port = str(terminals.enter_context(held_port()))
    beside = Reader(
        shop, reader.home, reader.path, reader.ports, {**reader.environ, "RETAINER_PROVIDER_PORT": port}, reader.printed
    )
    init, check, serve = found[1].strip().splitlines()
    operator_paid = f"{clone}/scripts/localnet faucet OPERATOR"
    steps = [("run", init), ("run", operator_paid), ("run", check), ("terminal", serve)]
    client = f'python {clone}/examples/client.py http://127.0.0.1:{port}/question "$RETAINER_KEYPAIR" {rpc_url}'
    if not await follow(report, beside, [*steps, ("run", client)], terminals):
        return False
    agent = README_ASKED * PRICE + ASKED * PRICE
    paid = await spent(beside, rpc_url)
    report.equal("after the README's thirty requests", paid, (agent, README_ASKED * PRICE))
    return True


async def on_devnet(report: Report, clone: Path, home: Path) -> None:
    """The page's second part, with nothing but the wheel installed, where the program is not deployed yet."""
    programs = clone / ".venv" / "bin"
    if report.scale == "full":
        wheel = await build(clone, "wheel", home / "wheel")
        status, lines = await install(wheel, "provider", Path(sys.executable), home / "venv", "dev.txt")
        report.fact("pip", lines)
        report.equal("installing the wheel with [provider] ends with", status, 0)
        programs = home / "venv" / "bin"
    ports = free_ports(("8402", "9000"))
    async with devnet() as cluster, AsyncExitStack() as terminals:
        environ = {
            "RETAINER_RPC_URL": cluster.rpc_url,
            "RETAINER_KEYPAIR": str(home / "agent.json"),
            "RETAINER_PROVIDER_RPC_URL": cluster.rpc_url,
            "RETAINER_PROVIDER_UPSTREAM": f"http://127.0.0.1:{ports['9000']}",
            "RETAINER_PROVIDER_PORT": ports["8402"],
        }
        reader = Reader(home, home, programs, ports, environ, f"token TEST {cluster.mint}\n")
        before = [
            ("run", "retainer keygen ~/agent.json"),
            ("terminal", f"uvicorn --app-dir {clone}/examples upstream:app --port 9000"),
        ]
        if not await follow(report, reader, before, terminals):
            return
        await cluster.give(Pubkey.from_string(reader.told("AGENT") or ""), tokens=True)
        absent = await reader.run("retainer verify-program --cluster devnet")
        report.equal("before anything is deployed, `verify-program` ends with", absent, 1)
        reader.ran.clear()
        for where, commands in page(clone):
            if not where.startswith("devnet"):
                continue
            if not await follow(report, reader, [(where.removeprefix("devnet ").strip(), commands)], terminals):
                return
            if "retainer-provider init" in commands:
                await cluster.give(Pubkey.from_string(reader.told("OPERATOR") or ""))
        missing = [step for step in STEPS if step not in f"serve {reader.ran}"]
        report.equal("steps that were not reached", missing, [])
        paid = await spent(reader, cluster.rpc_url, operator_had=0)
        report.equal("base units paid there, on chain", paid, (ASKED * PRICE,) * 2)


async def follow(report: Report, reader: Reader, steps: list[tuple[str, str]], terminals: AsyncExitStack) -> bool:
    """Type it all; whether every command ended well."""
    for where, commands in steps:
        if report.sabotage and "faucet OPERATOR" in commands:
            continue
        typed = reader.puts_in(commands).strip()
        for line in typed.splitlines():
            report.step(f"$ {line}")
        if where == "terminal":
            quick = " --slot-ms 100" if "scripts/localnet" in typed else ""
            port = f" --port {reader.ports['8899']}" if quick else ""
            if not await terminals.enter_async_context(reader.terminal(f"{typed}{port}{quick}")):
                report.step(f"ended before it was ready; printed last:\n{reader.printed[-1500:]}")
                break
        elif status := await reader.run(typed):
            report.step(f"ended with status {status}; printed last:\n{reader.printed[-1500:]}")
            break
    failed = [commands for commands, status in reader.ran if status]
    report.equal(f"commands that failed, of {len(reader.ran)} so far", failed, [])
    report.fact(f"printed by {len(reader.ran)} commands in {reader.place.name}", reader.printed.splitlines())
    return not failed


def folder_in(parent: Path, name: str) -> Path:
    """A new folder."""
    folder = parent / name
    folder.mkdir()
    return folder


def page(clone: Path) -> list[tuple[str, str]]:
    """Where, and what: the commands of docs/deploying.md in its order."""
    return STEP.findall((clone / "docs" / "deploying.md").read_text(encoding="utf-8"))


async def spent(reader: Reader, rpc_url: str, *, operator_had: int = TOKENS) -> tuple[int, int]:
    """What the agent has less, and the operator more, than the faucet gave, by the chain's own word."""
    mint, agent, operator = (Pubkey.from_string(reader.told(word) or "") for word in ("MINT", "AGENT", "OPERATOR"))
    async with RpcChain(rpc_url) as chain:
        left, got = await token_balance(chain, agent, mint), await token_balance(chain, operator, mint)
    return TOKENS - int(left), int(got) - operator_had
