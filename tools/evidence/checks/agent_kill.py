"""agent-kill: the agent killed at random moments goes on with the same session, and pays for no answer twice."""

import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

from tools.evidence.agent import noted
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import OFFER, Stage, stage, write_keypair

KILLS, KILLS_IN_CI = 50, 8
PRICE = 8_000
UPSTREAM_SECONDS = 0.03
# From before the first request leaves to some answers later; the first life also covers the opening.
LATEST_KILL_SECONDS, LATEST_FIRST_KILL_SECONDS = 0.5, 2.0
# Whoever forgets its sessions opens one in every life, and has tokens for one only.
SILENT_SECONDS = 60


async def run(report: Report) -> None:
    """Kill and restart, then let it finish what it began, close, and count."""
    rng = random.Random(report.seed)  # noqa: S311  moments, repeatable by seed
    if report.sabotage:
        report.plant("the agent keeps its sessions in memory only")
    offers = OFFER.replace('voucher_signer = "operator"', 'voucher_signer = "client"')
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name:
        folder = Path(name)
        async with (
            running(Upstream(slow_seconds=UPSTREAM_SECONDS)) as upstream,
            stage(folder, upstream=upstream.url, offers=offers) as stood,
        ):
            write_keypair(folder / "agent.json", stood.agent)
            before = await stood.balance(stood.agent.pubkey())
            kills = report.count(KILLS, KILLS_IN_CI)
            broken = await _torment(report, stood, rng, kills)
            report.told("kills", kills)
            report.equal("lives that ended by themselves", broken, [])
            answered = len(noted(folder))
            last = await _finish(stood, answered + 5, forget=report.sabotage)
            answers = noted(folder)
            report.told("answers noted before the last life", answered)
            report.told("executions upstream (at least once per question)", sum(upstream.executions.values()))
            report.equal("questions answered", len(answers), answered + 5)
            report.equal("questions with an answer of their own", len(set(answers.values())), len(answers))
            report.equal("sessions opened", last.get("sessions"), 1)
            settled = await stood.balance(stood.payee.pubkey())
            report.equal("settled, from the chain, in base units", settled, len(answers) * PRICE)
            after = await stood.balance(stood.agent.pubkey())
            report.equal("what the agent has less, from the chain", before - after, len(answers) * PRICE)


async def _torment(report: Report, stood: Stage, rng: random.Random, kills: int) -> list[str]:
    """Start the agent and kill it, again and again; what lives said that were not killed."""
    broken = []
    for number in range(kills):
        process = await _start(stood, forget=report.sabotage)
        if process.stdout is not None:
            await asyncio.wait_for(process.stdout.readline(), SILENT_SECONDS)
        await asyncio.sleep(rng.uniform(0, LATEST_KILL_SECONDS if number else LATEST_FIRST_KILL_SECONDS))
        if process.returncode is None:
            process.kill()
            await process.communicate()
        else:
            _, said = await process.communicate()
            broken.append(said.decode()[-300:])
        if (number + 1) % 10 == 0:
            report.step(f"{number + 1} of {kills} kills, {len(noted(stood.folder))} answers noted")
    return broken


async def _finish(stood: Stage, questions: int, *, forget: bool) -> dict[str, int]:
    process = await _start(stood, forget=forget, until=questions)
    out, error = await asyncio.wait_for(process.communicate(), 2 * SILENT_SECONDS)
    if process.returncode:
        print(error.decode()[-500:])
        return {}
    found: dict[str, int] = json.loads(out.decode().splitlines()[-1])
    return found


async def _start(stood: Stage, *, forget: bool, until: int | None = None) -> asyncio.subprocess.Process:
    options = [*(["--forget"] if forget else []), *([] if until is None else ["--until", str(until)])]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.evidence.agent", f"{stood.url}?fault=slow"),
        *(str(stood.folder / "agent.json"), stood.rpc_url, str(stood.folder), *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
