"""depleted: a deposit of exactly 1.0 at 0.008 pays for 125 requests and no more."""

import tempfile
from pathlib import Path

from retainer import SessionClient
from retainer.flows.answers import problem_of
from retainer.protocol.problems import ProblemType
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import stage

REQUESTS = 125


async def run(report: Report) -> None:
    """Drain a session, ask once more, and look at ledger, upstream and chain."""
    deposit = "1.0"
    if report.sabotage:
        deposit = "1.008"
        report.plant("the deposit is one request larger than the check believes")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with running(Upstream()) as upstream, stage(Path(folder), upstream=upstream.url) as stood:
            before = await stood.balance(stood.agent.pubkey())
            async with SessionClient(stood.agent, rpc_url=stood.rpc_url) as client:
                session = await client.create_session(stood.url, deposit)
                report.fact("session", session.session_id)
                report.step(f"session {session.session_id}: {REQUESTS} requests")
                answers = [await client.request("GET", stood.url, session=session.session_id) for _ in range(REQUESTS)]
                report.equal("answered", sum(answer.is_success for answer in answers), REQUESTS)
                drained = await client.get_session(session.session_id)
                report.equal("state after them", drained.state.value, "depleted")
                executed = sum(upstream.executions.values())
                refused = await client.request("GET", stood.url, session=session.session_id)
                problem = problem_of(refused)
                report.equal(
                    "the next one's problem", problem and problem.type.value, ProblemType.SESSION_DEPLETED.value
                )
                report.equal("upstream executions it caused", sum(upstream.executions.values()) - executed, 0)
                after = await client.get_session(session.session_id)
                report.equal("what it cost, in base units", after.spent - drained.spent, 0)
                closed = await client.close_session(session.session_id)
                report.fact("settlement", closed.signature)
            report.equal("settled to the payee, from the chain", await stood.balance(stood.payee.pubkey()), 1_000_000)
            report.equal("paid by the agent", before - await stood.balance(stood.agent.pubkey()), 1_000_000)
