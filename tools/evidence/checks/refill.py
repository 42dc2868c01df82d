"""refill: DEPLETED, top-up, ACTIVE in one session; and 300 requests, then a burst, that never notice top-ups."""

import asyncio
import tempfile
from pathlib import Path

from retainer import SessionClient, SpendingCaps, TopUpPolicy, problem_of
from retainer.chain.sessions import session_account
from retainer.protocol.problems import ProblemType
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

PRICE = 8_000
FIRST, ADDED = 13, 37
REQUESTS, REQUESTS_IN_CI = 300, 60
# At once: more than the deposit and one top-up together hold.
BURST, BURST_IN_CI = 150, 110
# Opened for 50 requests, and 50 more whenever fewer than 10 are left.
POLICY = TopUpPolicy(below=10 * PRICE, amount=50 * PRICE)


async def run(report: Report) -> None:
    """Refill one session by hand, and another one by policy."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with running(Upstream()) as upstream, stage(Path(folder), upstream=upstream.url) as stood:
            await _by_hand(report, stood)
            await _by_policy(report, stood)
            report.equal("executions of each request", sorted(set(upstream.executions.values())), [1])


async def _by_hand(report: Report, stood: Stage) -> None:
    async with SessionClient(stood.agent, rpc_url=stood.rpc_url) as client:
        before = await stood.balance(stood.agent.pubkey())
        session = await client.create_session(stood.url, FIRST * PRICE)
        report.fact("session refilled by hand", session.session_id)
        for _ in range(FIRST):
            (await client.request("GET", stood.url, session=session.session_id)).raise_for_status()
        drained = await client.get_session(session.session_id)
        report.equal("state after the deposit is spent", drained.state.value, "depleted")
        refused = problem_of(await client.request("GET", stood.url, session=session.session_id))
        name = refused and refused.type.value
        report.equal("the next request's problem", name, ProblemType.SESSION_DEPLETED.value)
        topped = await client.top_up(session.session_id, ADDED * PRICE)
        report.equal("state after the top-up", topped.state.value, "active")
        same = (topped.session_id, topped.pda) == (session.session_id, session.pda)
        report.equal("same session id and address", same, expected=True)
        account = await session_account(stood.chain, session.pda)
        deposit = account.deposit if account else None
        report.equal("deposit, from the chain", deposit, (FIRST + ADDED) * PRICE)
        asked = await client.request("GET", stood.url, session=session.session_id)
        report.equal("the same request after it", asked.status_code, 200)
        closed = await client.close_session(session.session_id)
        report.fact("its settlement", closed.signature)
        paid = before - await stood.balance(stood.agent.pubkey())
        report.equal("paid for it, from the chain", paid, (FIRST + 1) * PRICE)


async def _by_policy(report: Report, stood: Stage) -> None:
    requests, burst = report.count(REQUESTS, REQUESTS_IN_CI), report.count(BURST, BURST_IN_CI)
    if report.sabotage:
        report.plant("the client has no policy for topping up")
    policy = None if report.sabotage else POLICY
    caps = SpendingCaps(per_session="5.0")
    async with SessionClient(
        stood.agent, rpc_url=stood.rpc_url, caps=caps, deposit=50 * PRICE, top_up=policy
    ) as client:
        before = await stood.balance(stood.agent.pubkey())
        answers = [await client.request("GET", stood.url) for _ in range(requests)]
        report.equal("answered by policy", sum(answer.is_success for answer in answers), requests)
        at_once = await asyncio.gather(*(client.request("GET", stood.url) for _ in range(burst)))
        report.equal("answered of a burst", sum(answer.is_success for answer in at_once), burst)
        sessions = await client.sessions()
        report.equal("sessions opened for them", len(sessions), 1)
        report.told("deposit in the end, in base units", sessions[0].deposit)
        closed = await client.close_session(sessions[0].session_id)
        report.fact("settlement of the session topped up by policy", closed.signature)
        paid = before - await stood.balance(stood.agent.pubkey())
        report.equal("paid for them, from the chain", paid, (requests + burst) * PRICE)
