"""replay: one use under one Idempotency-Key sent ten times is one charge, one execution, and ten equal answers."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from retainer import SessionClient, SessionStore, create_channel_store
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

TIMES, PRICE = 10, 8_000
# So slow that copies sent at once meet the first one while it runs.
UPSTREAM_SECONDS = 0.2
CASES = [(order, connections) for order in ("one after the other", "at once") for connections in (1, 2)]


async def run(report: Report) -> None:
    """Replay in each order over each number of connections, then close and look at the chain."""
    if report.sabotage:
        report.plant("the last copy of each request carries a key of its own")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream(slow_seconds=UPSTREAM_SECONDS)) as upstream,
            stage(Path(folder), upstream=upstream.url) as stood,
        ):
            store = create_channel_store()
            async with SessionClient(stood.agent, rpc_url=stood.rpc_url, store=store) as client:
                session = (await client.create_session(stood.url, "1.0")).session_id
                report.fact("session", session)
                for order, connections in CASES:
                    await _replay(report, stood, store, upstream, session=session, order=order, connections=connections)
                spent = (await client.get_session(session)).spent
                report.equal("spent by all of them, in base units", spent, len(CASES) * PRICE)
                closed = await client.close_session(session)
                report.fact("settlement", closed.signature)
            report.equal("settled, from the chain", await stood.balance(stood.payee.pubkey()), len(CASES) * PRICE)


async def _replay(
    report: Report,
    stood: Stage,
    store: SessionStore,
    upstream: Upstream,
    *,
    session: str,
    order: str,
    connections: int,
) -> None:
    name = f"{order}, over {connections}"
    key = f"replay-{order.replace(' ', '-')}-{connections}"
    keys = [key] * TIMES
    if report.sabotage:
        keys[-1] = f"{key}-again"
    executed = sum(upstream.executions.values())
    async with _clients(stood, store, connections) as clients:
        asked = [
            clients[number % connections].request(
                "GET", f"{stood.url}?fault=slow", session=session, idempotency_key=each
            )
            for number, each in enumerate(keys)
        ]
        answers = [await each for each in asked] if order != "at once" else await asyncio.gather(*asked)
    report.equal(f"{name}: answered", sum(answer.is_success for answer in answers), TIMES)
    told = {(answer.content, answer.headers["Payment-Receipt"]) for answer in answers}
    report.equal(f"{name}: different answers or receipts", len(told), 1)
    report.equal(f"{name}: executions", sum(upstream.executions.values()) - executed, 1)


@asynccontextmanager
async def _clients(stood: Stage, store: SessionStore, connections: int) -> AsyncIterator[list[SessionClient]]:
    """Clients of one agent with one connection each."""
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=1)
        clients = []
        for _ in range(connections):
            http = await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=60))
            client = SessionClient(stood.agent, chain=stood.chain, http=http, store=store)
            clients.append(await stack.enter_async_context(client))
        yield clients
