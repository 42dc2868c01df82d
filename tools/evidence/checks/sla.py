"""sla: requests that break the terms are answered, named, and not charged; too many of them give units back."""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from retainer import SessionClient
from tools.evidence.clones import ROOT, run_command
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import OFFER, Stage, stage

_PROVIDER: Final = (sys.executable, "-m", "retainer_provider")
_CLIENT: Final = (sys.executable, "-m", "retainer.cli")
PRICE = 8_000
DEPOSIT = 1_000_000
MAX_LATENCY_MS = 400
FAULTS = ["slow"] * 4 + ["error"] * 3 + ["empty"] * 3
TERMS = {"slow": "max_latency_ms", "error": "accepted_statuses", "empty": "min_body_bytes", "shape": "response_schema"}
SCHEMA = {"type": "object", "required": ["execution"], "properties": {"execution": {"type": "integer"}}}
# Of each 30 requests 65 % must keep the terms: 20 of 30 do, 19 do not, and then a tenth goes back in whole units.
AVAILABILITY = """
[offers.demo.sla.availability]
min_bps = 6500
credit_bps = 1000
window_requests = 30
"""


async def run(report: Report) -> None:
    """Ask 30 times, 10 of them broken by the upstream, and close; the same with 11, all of the wrong shape."""
    offers = OFFER.replace("max_latency_ms = 2000", f"max_latency_ms = {MAX_LATENCY_MS}")
    if report.sabotage:
        offers = offers.replace('accepted_statuses = ["2xx"]', 'accepted_statuses = ["2xx", "5xx"]')
        report.plant("the provider's terms accept status 500, and any JSON for a body")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        schema = Path(folder) / "answer.schema.json"
        schema.write_text(json.dumps({} if report.sabotage else SCHEMA), encoding="utf-8")
        offers += f"response_schema = {json.dumps(str(schema))}\n{AVAILABILITY}"
        async with (
            running(Upstream(slow_seconds=3 * MAX_LATENCY_MS / 1000)) as upstream,
            stage(Path(folder), upstream=upstream.url, offers=offers) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url) as client,
        ):
            report.step("10 of 30 broken: too slow, another status, empty")
            await _session(report, stood, client, [FAULTS[n // 3] if n % 3 == 0 else None for n in range(30)], credit=0)
            report.step("11 of 30 broken: not of the agreed shape; 63.3 % kept where 65 % were promised")
            await _session(report, stood, client, ["shape"] * 11 + [None] * 19, credit=2)


async def _session(
    report: Report, stood: Stage, client: SessionClient, faults: list[str | None], *, credit: int
) -> None:
    agent, payee = await _balances(stood)
    session = await client.create_session(stood.url, "1.0")
    charged, free, answered = 0, Counter[str](), 0
    for fault in faults:
        url = stood.url if fault is None else f"{stood.url}?fault={fault}"
        answer = await client.request("GET", url, session=session.session_id)
        metered = answer.extensions["retainer"].retainer.metered
        answered += answer.status_code == (500 if fault == "error" else 200)
        charged += metered.charged
        if not metered.charged:
            free[f"{fault}: {metered.term}"] += 1
    expected = Counter(f"{fault}: {TERMS[fault]}" for fault in faults if fault)
    report.equal("answered with the upstream's status", answered, len(faults))
    report.equal("charged", charged, len(faults) - expected.total())
    report.equal(
        "uncharged, by what broke and the term named", dict(sorted(free.items())), dict(sorted(expected.items()))
    )
    closed = await client.close_session(session.session_id)
    report.fact(f"settlement of {session.session_id}", closed.signature)
    agent_after, payee_after = await _balances(stood)
    settled = (len(faults) - expected.total() - credit) * PRICE
    report.equal("settled, from the chain", payee_after - payee, settled)
    report.equal("refunded, from the chain", DEPOSIT - (agent - agent_after), DEPOSIT - settled)
    told = await _audited(stood, session.session_id, closed.signature)
    report.equal("units given back, as `retainer audit` computes it from the log", told["creditUnits"], credit)
    report.equal("what the auditor finds wrong", told["findings"], [])


async def _audited(stood: Stage, session_id: str, signature: str) -> dict[str, Any]:
    """The settlement held against the provider's exported log, by the commands that an auditor runs."""
    config = str(stood.service.settings)
    _, lines = await run_command([*_PROVIDER, "export", "--config", config, session_id], ROOT, echo=False)
    log = stood.folder / f"{session_id}.jsonl"
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    audit = [*_CLIENT, "audit", "settlement", signature, "--log", str(log), "--rpc-url", stood.rpc_url, "--json"]
    _, lines = await run_command(audit, ROOT, echo=False)
    told: dict[str, Any] = json.loads("".join(lines))
    return told


async def _balances(stood: Stage) -> tuple[int, int]:
    return await stood.balance(stood.agent.pubkey()), await stood.balance(stood.payee.pubkey())
