"""The main job, end to end, for people to watch: `scripts/demo`.

Every figure of the summary is measured on the chain. The exit status is 0 only when all of them are what they must be.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from retainer import RetainerError, SessionClient, SpendingCaps
from retainer.chain.sessions import session_account
from retainer.cli.words import account_words
from retainer.protocol.amounts import format_amount
from tools.ports import held_port
from tools.stage import DECIMALS, StageError, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from retainer import SessionView
    from tools.stage import Stage

ROOT: Final = Path(__file__).resolve().parents[1]
REQUESTS: Final = 30
DEPOSIT: Final = "1.0"
SUMMARY: Final = (
    "requests 30 · price 0.008 · deposit 1.0 · settled 0.24 · refunded 0.76",
    "transactions 2 · per-request payments would have been 30",
)
_READY_SECONDS: Final = 120
_PLAIN_EVERY: Final = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened to the money, in base units, from balances and the session's account on the chain."""

    requests: int
    price: int
    deposit: int
    settled: int
    refunded: int
    transactions: int

    def summary(self) -> tuple[str, str]:
        """The last two lines."""
        price, deposit, settled, refunded = (
            format_amount(units, DECIMALS) for units in (self.price, self.deposit, self.settled, self.refunded)
        )
        return (
            f"requests {self.requests} · price {price} · deposit {deposit} · settled {settled} · refunded {refunded}",
            f"transactions {self.transactions} · per-request payments would have been {self.requests}",
        )


class Narrator:
    """Tells what happens as it happens: with a bar on a terminal, in plain lines elsewhere."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)

    def step(self, name: str, outcome: str) -> None:
        """A step that is done."""
        self.console.print(f"[bold cyan]{name:14}[/] {outcome}")

    def block(self, text: str) -> None:
        """Something to look at, set in."""
        for line in text.splitlines():
            self.console.print(f"    {line}", style="dim", markup=False)


async def run(narrator: Narrator) -> Measured:
    """Set the stage, play the main job on it, and clear it away."""
    with tempfile.TemporaryDirectory(prefix="retainer-demo-") as folder:
        async with upstream_service() as upstream, stage(Path(folder), upstream=upstream, say=narrator.step) as stood:
            return await play(stood, narrator)


@asynccontextmanager
async def upstream_service() -> AsyncIterator[str]:
    """The small service that is to be paid for, as a process of its own; yields its URL."""
    with held_port() as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples"), "upstream:app"),
            *("--port", str(port), "--log-level", "warning"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; we end it
        )
        url = f"http://127.0.0.1:{port}"
        try:
            await answering(url, process)
            yield url
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def answering(url: str, process: asyncio.subprocess.Process) -> None:
    """Wait until something answers at `url`; StageError when the process ends first or takes too long."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _READY_SECONDS
    async with httpx.AsyncClient() as http:
        while True:
            try:
                await http.get(url)
            except httpx.TransportError:
                if process.returncode is not None or loop.time() > give_up_at:
                    raise StageError(f"the upstream service did not start at {url}") from None
                await asyncio.sleep(0.05)
            else:
                return


async def play(stood: Stage, narrator: Narrator) -> Measured:
    """Open, ask thirty times, close; and read from the chain what came of it."""
    agent, payee = stood.agent.pubkey(), stood.payee.pubkey()
    caps = SpendingCaps(per_session=DEPOSIT, per_request="0.01")
    async with SessionClient(stood.agent, rpc_url=stood.rpc_url, caps=caps) as client:
        agent_before, payee_before = await stood.balance(agent), await stood.balance(payee)
        session = await client.create_session(stood.url, deposit_amount=DEPOSIT)
        agent_funded = await stood.balance(agent)
        narrator.step("opened", f"session {session.session_id}\n{'':15}transaction {session.creation_signature}")
        account = await session_account(stood.chain, session.pda)
        if account is None:
            raise StageError(f"there is no account at {session.pda} after opening")
        narrator.block(account_words(session.session_id, account, await stood.chain.block_time()))

        answered = await ask(client, stood, session, narrator)

        with narrator.console.status("closing: one transaction settles and refunds; waiting until it is final"):
            closed = await client.close_session(session.session_id)
        narrator.step("closed", f"transaction {closed.signature}")
        gone = await stood.chain.account(session.pda) is None
        narrator.block(f"{session.pda}: {'no account, its rent is back' if gone else 'STILL THERE'}")
        if not gone:
            raise StageError("closing left the session's account behind")
        agent_after, payee_after = await stood.balance(agent), await stood.balance(payee)
        narrator.step(
            "agent", " → ".join(format_amount(b, DECIMALS) for b in (agent_before, agent_funded, agent_after))
        )
        narrator.step("provider", " → ".join(format_amount(b, DECIMALS) for b in (payee_before, payee_after)))
        return Measured(
            requests=answered,
            price=account.price_per_unit,
            deposit=agent_before - agent_funded,
            settled=payee_after - payee_before,
            refunded=agent_after - agent_funded,
            transactions=len(await stood.chain.signatures_for(session.pda)),
        )


async def ask(client: SessionClient, stood: Stage, session: SessionView, narrator: Narrator) -> int:
    """Make the requests, and return how many were answered and charged."""
    answered = 0
    terminal = narrator.console.is_terminal
    bar = Progress(
        TextColumn("[bold cyan]asking        [/]"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        console=narrator.console,
        disable=not terminal,
    )
    with bar:
        task = bar.add_task("", total=REQUESTS)
        for number in range(1, REQUESTS + 1):
            response = await client.request("GET", stood.url, params={"q": number}, session=session.session_id)
            response.raise_for_status()
            receipt = response.extensions["retainer"]
            answered += receipt.retainer.metered.charged
            left = format_amount(receipt.retainer.remaining, DECIMALS)
            bar.update(task, advance=1, description=f"{left} left")
            if not terminal and number % _PLAIN_EVERY == 0:
                narrator.step("asking", f"{number} of {REQUESTS} answered, {left} left")
    return answered


async def watched(narrator: Narrator) -> Measured:
    """Run, and end in good order when told to stop: nothing that was started may outlive this process."""
    task = asyncio.ensure_future(run(narrator))

    def stop() -> None:
        # Once only: a second Ctrl-C must not interrupt the clearing away.
        if not task.cancelling():
            print("stopping what was started", file=sys.stderr, flush=True)
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    return await task


def main() -> int:
    """Exit status: 0 when every figure holds, 1 when not, 130 when interrupted."""
    narrator = Narrator()
    narrator.console.print("[bold]retainer: fund once, ask many[/]\n")
    try:
        measured = asyncio.run(watched(narrator))
    except asyncio.CancelledError:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130
    except (RetainerError, StageError, httpx.HTTPError) as error:
        print(f"scripts/demo: {error}", file=sys.stderr)
        return 1
    print()
    for line in measured.summary():
        print(line, flush=True)
    if measured.summary() != SUMMARY:
        print("scripts/demo: these figures are not what they must be:", *SUMMARY, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
