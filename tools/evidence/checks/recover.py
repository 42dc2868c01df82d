"""recover: the database deleted under 20 live sessions; chain and receipts give back all but what was in flight."""

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace
from solders.keypair import Keypair

from retainer import SessionClient
from retainer.chain.sessions import sessions_of
from retainer.localnet import time_travel
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import RetainerError
from retainer.protocol.receipts import Receipt, receipt_header, sign_receipt
from retainer.protocol.session import ChainStatus
from retainer_provider.settling.recovery import Finding
from tools.evidence.checks.crash import OFFERS
from tools.evidence.leaks import secrets_of, show_none
from tools.evidence.mortals import DEPOSIT, PRICE
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

SESSIONS, SESSIONS_IN_CI = 20, 8
# Agents who never hear of it: nobody presents their receipts.
SILENT = 3
MODES = ("metered", "vouchers", "custodial")
REQUESTS = 5
UPSTREAM_SECONDS = 0.3
GRACE_SECONDS = 3600


@dataclass(slots=True)
class Holder:
    """An agent with one live session."""

    client: SessionClient
    url: str
    key: Keypair
    delivered: int = 0
    session: str = ""
    first: list[str] = field(default_factory=list)

    async def ask(self, *, slow: bool = False) -> None:
        """One request; what breaks is not delivered."""
        answer = await self.client.request("GET", self.url + ("?fault=slow" if slow else ""))
        answer.raise_for_status()
        self.delivered += 1
        if not self.session:
            self.session = (await self.client.sessions())[0].session_id
            self.first = await self.client.proofs(self.session)


async def run(report: Report) -> None:
    """Open, use, kill with a request in flight on each, delete the books, recover, and count on chain."""
    count = SESSIONS if report.scale == "full" else SESSIONS_IN_CI
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name:
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(running(Upstream(slow_seconds=UPSTREAM_SECONDS)))
            stood = await stack.enter_async_context(
                stage(
                    Path(name),
                    upstream=upstream.url,
                    offers=OFFERS,
                    slot_ms=50,
                    service={"refund_keypair": "payee.json"},
                )
            )
            holders = [await _holder(stood, stack, number) for number in range(count)]
            before = [await stood.balance(one.key.pubkey()) for one in holders]
            for _ in range(REQUESTS):
                await asyncio.gather(*(one.ask() for one in holders))
            report.step(f"{count} sessions, {REQUESTS} requests each; a third signs vouchers, a third is custodial")
            await _disaster(report, stood, holders)
            talking, silent = holders[:-SILENT], holders[-SILENT:]
            await _present(report, stood, talking)
            delivered = sum(one.delivered for one in talking)
            await _recover(report, stood, talking)
            await _leave(report, stood, silent)
            settled = await stood.balance(stood.payee.pubkey())
            report.at_most("answers delivered before the kill and not paid", delivered - settled // PRICE, 0)
            after = [await stood.balance(one.key.pubkey()) for one in holders]
            report.equal("paid by all agents, from the chain", sum(before) - sum(after), settled)
            left = await sessions_of(stood.chain, stood.operator.pubkey())
            show_none(report, [stood.service.log], secrets_of(stood, [one.key for one in holders]))
            report.equal("sessions not over", sum(one.status is not ChainStatus.CLOSED for one in left.values()), 0)


async def _holder(stood: Stage, stack: AsyncExitStack, number: int) -> Holder:
    key = await stood.new_agent()
    client = await stack.enter_async_context(
        SessionClient(key, rpc_url=stood.rpc_url, deposit=DEPOSIT, allow_custodial=True)
    )
    return Holder(client, f"{stood.service.url}/{MODES[number % len(MODES)]}/x", key)


async def _disaster(report: Report, stood: Stage, holders: list[Holder]) -> None:
    async def interrupted(one: Holder) -> None:
        with suppress(httpx.TransportError, RetainerError):
            await one.ask(slow=True)

    asking = [asyncio.create_task(interrupted(one)) for one in holders]
    await asyncio.sleep(UPSTREAM_SECONDS / 2)
    await stood.service.kill()
    await asyncio.gather(*asking)
    files = sorted(stood.folder.glob("ledger.sqlite*"))
    for file in files:
        file.unlink()
    report.step(f"killed with a request in flight on each session; deleted {', '.join(file.name for file in files)}")


async def _present(report: Report, stood: Stage, holders: list[Holder]) -> None:
    """What agents hand in, one of whom forges a receipt against another."""
    folder = stood.folder / "presented"
    folder.mkdir()
    if report.sabotage:
        report.plant("agents present the first receipts of their sessions instead of the newest")
    for one in holders:
        lines = one.first if report.sabotage else await one.client.proofs(one.session)
        (folder / f"{one.session}.txt").write_text("\n".join(lines) + "\n")
    receipt = await holders[0].client.receipt(holders[0].session)
    (folder / "forged.txt").write_text(_forged(receipt) + "\n")


def _forged(receipt: Receipt | None) -> str:
    """The same receipt with everything spent, signed by another key under the operator's name."""
    if receipt is None or receipt.retainer is None:
        raise RuntimeError("the session has no receipt of ours")
    forger = Keypair()
    lie = replace(receipt, spent=BaseUnits(DEPOSIT), retainer=replace(receipt.retainer, operator=forger.pubkey()))
    signed = sign_receipt(lie, forger)
    if signed.retainer is None:
        raise RuntimeError("signing took the signature away")
    return receipt_header(replace(signed, retainer=replace(signed.retainer, operator=receipt.retainer.operator)))


async def _command(stood: Stage, *options: str) -> tuple[int, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retainer_provider", "recover", "--config", str(stood.service.settings), "--json"),
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await process.communicate()
    if not output:
        raise RuntimeError(complaints.decode(errors="replace"))
    return process.returncode or 0, json.loads(output)


async def _recover(report: Report, stood: Stage, talking: list[Holder]) -> None:
    presented = ("--receipts", str(stood.folder / "presented"))
    _, said = await _command(stood, *presented, "--dry-run")
    report.equal("the dry run finds sessions on chain", len(said["sessions"]), len(talking) + SILENT)
    report.equal("and makes no database", list(stood.folder.glob("ledger.sqlite*")), [])
    status, said = await _command(stood, *presented)
    found = [one["finding"] for one in said["sessions"]]
    report.equal("`retainer-provider recover` ends with status", status, 0)
    report.equal("sessions recovered", found.count(Finding.RECOVERED), len(talking))
    report.equal("and settled", sum(one["outcome"] == "settled" for one in said["sessions"]), len(talking))
    report.equal("sessions named as unproven, and left alone", found.count(Finding.UNPROVEN), SILENT)
    report.equal("forged receipts that it did not believe", said["worthlessProofs"], 1)
    report.fact("recover", said)
    await stood.service.start()
    status, again = 0, await talking[0].client.get_session(talking[0].session)
    report.equal("a recovered session, as its agent finds it", again.state.value, "refunded")
    await stood.service.stop()
    status, said = await _command(stood, *presented)
    report.equal("run again, it finds only the unproven", (status, len(said["sessions"])), (0, SILENT))


async def _leave(report: Report, stood: Stage, silent: list[Holder]) -> None:
    """The payers' own way out, which needs nothing of the service; what it holds itself, it has to send back."""
    custodial = [one for one in silent if "/custodial/" in one.url]
    escrowed = [one for one in silent if one not in custodial]
    for one in escrowed:
        await one.client.request_close(one.session)
    await time_travel(stood.rpc_url, await stood.chain.block_time() + GRACE_SECONDS + 60)
    refunded = [(await one.client.withdraw(one.session)).settlement for one in escrowed]
    whole = sum(one.refunded for one in refunded if one is not None)
    report.equal("refunded to the agents who were silent, by their own exit", whole, len(escrowed) * DEPOSIT)
    status, said = await _command(stood, "--refund")
    ended = [(one["custody"], one["deposit"], one["outcome"]) for one in said["sessions"]]
    report.equal("`recover --refund` ends with status", status, 0)
    report.equal("and sends back what nobody proved", ended, [("provider", str(DEPOSIT), "settled")] * len(custodial))
