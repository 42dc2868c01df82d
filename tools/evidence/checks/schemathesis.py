"""schemathesis: whatever the OpenAPI document allows or forbids is answered as it says, and nothing is given away."""

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Final

import httpx

from retainer import SessionClient
from tools.evidence.generated import Payer, Sender
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

REQUESTS, REQUESTS_IN_CI = 5_000, 700
OFFER: Final = """
[offers.demo]
price = "0.000008"
mint = "{mint}"
decimals = 6
suggested_deposit = "2.0"
minimum_deposit = "0.1"
voucher_signer = "operator"
routes = ["/v1/*", "/v1/report"]

[responders.ada]
upstream = "/v1/report"
offer = "demo"
"""
# One address and one payer send everything, and are to be judged by what they send.
LIMITS: Final = {"unpaid_requests_per_second": 0, "payer_requests_per_second": 0}
FREED: Final = '\n[routes]\nfree = ["/v1/*"]\n'


async def run(report: Report) -> None:
    """Make requests up from the running service's own document, by nobody, by a forger and by a payer."""
    count = report.count(REQUESTS, REQUESTS_IN_CI)
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream()) as upstream,
            stage(Path(folder), upstream=upstream.url, offers=OFFER, limits=LIMITS) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url, deposit="2.0") as client,
            httpx.AsyncClient() as http,
        ):
            opened = await client.request("GET", stood.url)
            (session,) = await client.sessions()
            payer = Payer(session.session_id, opened.request.headers["Authorization"])
            document = (await http.get(f"{stood.service.url}/openapi.json")).json()
            if report.sabotage:
                report.plant("the operator gives a priced path away: /v1/* is free")
                await _give_away(stood)
            sender = Sender(document, stood.service.url, payer, report.seed, await _cards(stood, http, payer))
            await asyncio.to_thread(sender.send, count)
    _show(report, sender, count)


async def _cards(stood: Stage, http: httpx.AsyncClient, payer: Payer) -> dict[str, str]:
    """A card to put away, and one for all else that is asked of cards; by how operations are called."""
    made = []
    for title in ("kept", "put away"):
        body = {"responder": "ada", "creator": "me", "title": title}
        held = {"Authorization": payer.header}
        answer = await http.post(f"{stood.service.url}/api/cards", json=body, headers=held)
        made.append(answer.raise_for_status().json()["id"])
    kept, put_away = made
    return {"/archive": put_away, "/cards/{card}": kept, "/messages": kept, "/title": kept, "/retry": kept}


async def _give_away(stood: Stage) -> None:
    text = stood.service.settings.read_text(encoding="utf-8")
    stood.service.settings.write_text(re.sub(r"routes = .*", 'routes = ["/v1/report"]', text) + FREED)
    await stood.service.stop()
    await stood.service.start()


def _show(report: Report, sender: Sender, count: int) -> None:
    outcome = sender.outcome
    for name, needs in sender.operations.items():
        paid = f", {outcome.served[name]} served to the payer" if needs else ""
        print(f"    {name}: {outcome.sent[name]} requests{paid}")
    report.at_least("requests sent", outcome.sent.total(), count)
    report.told("statuses", dict(sorted(outcome.statuses.items())))
    report.equal("operations never asked", [name for name in sender.operations if not outcome.sent[name]], [])
    report.equal("server errors", outcome.errors[:5], [])
    report.equal("answers of 2xx without the payer's credential, where it is needed", outcome.leaks[:5], [])
    report.equal("answers that are not as the document says", outcome.departures[:5], [])
    unserved = [name for name, needs in sender.operations.items() if needs and not outcome.served[name]]
    report.equal("operations that the payer was not served by", unserved, [])
