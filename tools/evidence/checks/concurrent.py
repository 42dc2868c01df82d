"""concurrent: 50 requests at once on one client without a session yet: one is opened, and pays each of them once."""

import asyncio
import tempfile
from pathlib import Path

from solders.pubkey import Pubkey

from retainer import SessionClient
from retainer.chain.base import Chain
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.events import SessionOpened, events_from_logs
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import stage

REQUESTS, PRICE, DEPOSIT = 50, 8_000, 1_000_000


async def run(report: Report) -> None:
    """Send them all, close what was opened, and count on client, upstream and chain."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream(slow_seconds=0.02)) as upstream,
            stage(Path(folder), upstream=upstream.url) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url, deposit="1.0") as client,
            SessionClient(stood.agent, rpc_url=stood.rpc_url, deposit="1.0") as other,
        ):
            before = await stood.balance(stood.agent.pubkey())
            clients = [client] * REQUESTS
            if report.sabotage:
                clients[-1] = other
                report.plant("the last request goes through a client that does not know of the others")
            url = f"{stood.url}?fault=slow"
            answers = await asyncio.gather(*(each.request("GET", url) for each in clients))
            report.equal("answered", sum(answer.is_success for answer in answers), REQUESTS)
            metered = [answer.extensions["retainer"].retainer.metered for answer in answers]
            report.equal("charged", sum(each.charged for each in metered), REQUESTS)
            report.equal("answers of their own", len({answer.content for answer in answers}), REQUESTS)
            numbers = sorted(each.sequence for each in metered)
            report.equal("numbered in one row", numbers == [*range(1, REQUESTS + 1)], expected=True)
            report.equal("executions of each request", sorted(set(upstream.executions.values())), [1])
            opened = await _opened(stood.chain, stood.agent.pubkey())
            report.equal("sessions opened on chain by the agent", len(opened), 1)
            locked = before - await stood.balance(stood.agent.pubkey())
            report.equal("locked by them, in base units", locked, DEPOSIT)
            for each in (client, other):
                for session in await each.sessions():
                    closed = await each.close_session(session.session_id)
                    report.fact(f"settlement of {session.session_id}", closed.signature)
            report.equal("settled, from the chain", await stood.balance(stood.payee.pubkey()), REQUESTS * PRICE)
            paid = before - await stood.balance(stood.agent.pubkey())
            report.equal("paid by the agent, from the chain", paid, REQUESTS * PRICE)


async def _opened(chain: Chain, payer: Pubkey) -> set[str]:
    """The sessions that the payer's transactions have opened."""
    found = set()
    for signature in await chain.signatures_for(payer, limit=1_000):
        info = await chain.transaction(signature)
        events = events_from_logs(info.logs, PROGRAM_ID) if info is not None and info.error is None else ()
        found |= {str(event.session) for event in events if isinstance(event, SessionOpened) and event.payer == payer}
    return found
