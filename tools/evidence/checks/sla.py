"""sla: requests that break the terms are answered, named, and not charged."""

import tempfile
from collections import Counter
from pathlib import Path

from retainer import SessionClient
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import OFFER, stage

MAX_LATENCY_MS = 400
FAULTS = ["slow"] * 4 + ["error"] * 3 + ["empty"] * 3
TERMS = {"slow": "max_latency_ms", "error": "accepted_statuses", "empty": "min_body_bytes"}


async def run(report: Report) -> None:
    """Ask 30 times, 10 of them broken by the upstream, and close."""
    offers = OFFER.replace("max_latency_ms = 2000", f"max_latency_ms = {MAX_LATENCY_MS}")
    if report.sabotage:
        offers = offers.replace('accepted_statuses = ["2xx"]', 'accepted_statuses = ["2xx", "5xx"]')
        report.plant("the provider's terms accept status 500")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream(slow_seconds=3 * MAX_LATENCY_MS / 1000)) as upstream,
            stage(Path(folder), upstream=upstream.url, offers=offers) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url) as client,
        ):
            before = await stood.balance(stood.agent.pubkey())
            session = await client.create_session(stood.url, "1.0")
            report.fact("session", session.session_id)
            faults = [FAULTS[n // 3] if n % 3 == 0 else None for n in range(30)]
            charged, free, answered = 0, Counter[str](), 0
            for fault in faults:
                url = stood.url if fault is None else f"{stood.url}?fault={fault}"
                answer = await client.request("GET", url, session=session.session_id)
                metered = answer.extensions["retainer"].retainer.metered
                answered += answer.status_code == (500 if fault == "error" else 200)
                charged += metered.charged
                if not metered.charged:
                    free[f"{fault}: {metered.term}"] += 1
            report.equal("answered with the upstream's status", answered, 30)
            report.equal("charged", charged, 20)
            expected = {f"{fault}: {TERMS[fault]}": FAULTS.count(fault) for fault in TERMS}
            report.equal(
                "uncharged, by what broke and the term named",
                dict(sorted(free.items())),
                dict(sorted(expected.items())),
            )
            closed = await client.close_session(session.session_id)
            report.fact("settlement", closed.signature)
            report.equal("settled, from the chain", await stood.balance(stood.payee.pubkey()), 160_000)
            refunded = 1_000_000 - (before - await stood.balance(stood.agent.pubkey()))
            report.equal("refunded, from the chain", refunded, 840_000)
