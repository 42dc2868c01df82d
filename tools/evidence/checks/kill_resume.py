"""kill-resume: SIGKILL at random moments of the requests; nothing is charged twice, nothing is delivered uncharged."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from retainer import SessionClient
from retainer.protocol.errors import RetainerError
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

REQUESTS, KILLS, KILLS_IN_CI = 30, 50, 12
PRICE, DEPOSIT = 8_000, 1_000_000
UPSTREAM_SECONDS = 0.03
# A request takes a little longer than the upstream does: moments from before it arrives to after it is answered.
LATEST_KILL_SECONDS = 2.5 * UPSTREAM_SECONDS


@dataclass(slots=True)
class Agent:
    """Asks under keys of its own, again and again until it is answered."""

    client: SessionClient
    url: str
    session: str
    answers: dict[str, bytes] = field(default_factory=dict)
    lost: int = 0
    contradictions: list[str] = field(default_factory=list)

    async def ask(self, key: str) -> bool:
        """One attempt; False when the connection broke."""
        try:
            answer = await self.client.request("GET", self.url, session=self.session, idempotency_key=key)
        except httpx.TransportError:
            self.lost += 1
            return False
        if not answer.is_success:
            raise RuntimeError(f"status {answer.status_code}: {answer.text[:300]}")
        if self.answers.setdefault(key, answer.content) != answer.content:
            self.contradictions.append(key)
        return True


async def run(report: Report) -> None:
    """Kill and restart through 30 requests, ask for all of them once more, close, and count."""
    rng = random.Random(report.seed)  # noqa: S311  moments, repeatable by seed
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream(slow_seconds=UPSTREAM_SECONDS)) as upstream,
            stage(Path(folder), upstream=upstream.url) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url) as client,
        ):
            before = await stood.balance(stood.agent.pubkey())
            session = (await client.create_session(stood.url, "1.0")).session_id
            report.fact("session", session)
            agent = Agent(client, f"{stood.url}?fault=slow", session)
            try:
                kills = await _torment(report, stood, agent, rng)
                await _examine(report, agent, upstream)
                closed = await client.close_session(session)
            except RetainerError as error:
                report.equal("what the client found wrong with the provider", str(error), "nothing")
                return
            finally:
                report.equal("requests answered in two ways", agent.contradictions, [])
            report.fact("settlement", closed.signature)
            report.equal("kills", kills, report.count(KILLS, KILLS_IN_CI))
            settled = await stood.balance(stood.payee.pubkey())
            refunded = DEPOSIT - (before - await stood.balance(stood.agent.pubkey()))
            report.equal("settled, from the chain", settled, REQUESTS * PRICE)
            report.equal("settled + refunded, from the chain", settled + refunded, DEPOSIT)


async def _torment(report: Report, stood: Stage, agent: Agent, rng: random.Random) -> int:
    """Ask under 30 keys and kill the provider while it works; returns the number of kills."""
    kills = 0
    for number in range(REQUESTS):
        key = f"kill-resume-{number}"
        due = round((number + 1) * report.count(KILLS, KILLS_IN_CI) / REQUESTS)
        answered = False
        while kills < due:
            attempt = asyncio.create_task(agent.ask(key))
            await asyncio.sleep(rng.uniform(0, LATEST_KILL_SECONDS))
            await stood.service.kill()
            kills += 1
            answered = await attempt or answered
            roll_back = _sabotage(report, stood) if report.sabotage and number >= REQUESTS // 2 else None
            await stood.service.start()
            if roll_back is not None:
                await _until_answered(agent, key)
                await stood.service.kill()
                roll_back()
                await stood.service.start()
        if not answered:
            await _until_answered(agent, key)
        if number % 5 == 4:  # noqa: PLR2004  progress
            report.step(f"{number + 1} of {REQUESTS} requests, {kills} kills, {agent.lost} attempts lost")
    return kills


async def _until_answered(agent: Agent, key: str) -> None:
    while True:
        if await agent.ask(key):
            return
        await asyncio.sleep(0.05)


async def _examine(report: Report, agent: Agent, upstream: Upstream) -> None:
    """Every key once more: the same answers, and not one unit charged for them."""
    spent = (await agent.client.get_session(agent.session)).spent
    report.told("attempts that lost their answer", agent.lost)
    report.told("executions upstream (at least once per request)", sum(upstream.executions.values()))
    report.equal("delivered", len(agent.answers), REQUESTS)
    report.equal("spent, in base units", spent, REQUESTS * PRICE)
    executed = sum(upstream.executions.values())
    for key in list(agent.answers):
        if not await agent.ask(key):
            raise RuntimeError("the provider is not there")
    report.equal("executions for asking all again", sum(upstream.executions.values()) - executed, 0)
    again = (await agent.client.get_session(agent.session)).spent
    report.equal("charged for asking all again", again - spent, 0)


def _sabotage(report: Report, stood: Stage) -> Callable[[], None] | None:
    """Keep the ledger as it is now; the returned function puts it back."""
    if report.fault is not None:
        return None
    report.plant("after a kill the ledger's files are put back to what they were one charge earlier")
    files = list(stood.folder.glob("ledger.sqlite*"))
    kept = stood.folder / "kept"
    kept.mkdir()
    for file in files:
        shutil.copy2(file, kept / file.name)

    def roll_back() -> None:
        for file in stood.folder.glob("ledger.sqlite*"):
            file.unlink()
        for file in kept.iterdir():
            shutil.copy2(file, stood.folder / file.name)

    return roll_back
