"""mcp: a model's tools that cost money, through `retainer mcp` and its stdio; and an MCP server that is itself sold."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import CallToolResult, TextContent

from retainer import SessionClient, load_keypair
from retainer.mcp.server import COST, SPENDING
from retainer.stores import create_sqlite_channel_store
from tools.evidence.upstream import Upstream, running
from tools.stage import stage, write_keypair

if TYPE_CHECKING:
    from tools.evidence.report import Report
    from tools.stage import Stage

TOOL: Final = "get_v1_path"
# A deposit of 0.1, and one top-up of as much: 25 calls.
PRICE, CAP = 8_000, 200_000
WITHIN: Final = CAP // PRICE
RUN: Final = "from retainer.cli import main; main(prog_name='retainer')"
UNBOUND: Final = (
    "from retainer.trust.caps import SpendingCaps; "
    "SpendingCaps.require_deposit = SpendingCaps.require_top_up = lambda *arguments: None; "
)


async def run(report: Report) -> None:
    """Call until the cap, once beyond it; then count on chain."""
    with tempfile.TemporaryDirectory(prefix="retainer-mcp-") as folder:
        async with running(Upstream()) as upstream, stage(Path(folder), upstream=upstream.url, slot_ms=100) as stood:
            write_keypair(stood.folder / "agent.json", stood.agent)
            await call_tools(report, stood, upstream)


async def call_tools(report: Report, stood: Stage, upstream: Upstream) -> None:
    """Through the SDK's own stdio client: what is offered, what is answered, what is refused, what was paid."""
    if report.sabotage:
        report.plant("the client forgets the user's caps")
    before = await stood.balance(stood.agent.pubkey()), await stood.balance(stood.payee.pubkey())
    store = stood.folder / "sessions.sqlite"
    server = StdioServerParameters(
        command=sys.executable,
        args=[
            *("-c", (UNBOUND if report.sabotage else "") + RUN, "mcp", stood.service.url),
            *("--deposit", "0.1", "--max-per-day", "0.2", "--rpc-url", stood.rpc_url),
            *("--keypair", str(stood.folder / "agent.json"), "--store", str(store)),
        ],
    )
    async with Client(stdio_client(server)) as model:
        offered = {tool.name: tool.description or "" for tool in (await model.list_tools()).tools}
        report.equal("tools that it offers", sorted(offered), [TOOL, "post_v1_path", SPENDING])
        report.told("as it describes one", offered.get(TOOL, ""))
        calls = [await model.call_tool(TOOL, {"path": "report", "query": {"q": str(n)}}) for n in range(WITHIN)]
        report.equal("calls within the cap of 0.2 that were answered", sum(not one.is_error for one in calls), WITHIN)
        charged = sum(int((one.meta or {}).get(COST, 0)) for one in calls)
        report.equal("base units that they say they cost", charged, WITHIN * PRICE)
        beyond = await model.call_tool(TOOL, {"path": "report"})
        report.equal("the call beyond it", "refused" if beyond.is_error else "answered", "refused")
        report.told("in these words", words(beyond))
        named = re.search(r"exceeds the cap of (\S+)", words(beyond))
        report.equal("which name the cap", named and named[1], "0.2")
        report.equal("calls that reached the service", sum(upstream.executions.values()), WITHIN)
        report.told(SPENDING, words(await model.call_tool(SPENDING, {})))
    signer = load_keypair(stood.folder / "agent.json")
    async with SessionClient(signer, rpc_url=stood.rpc_url, store=create_sqlite_channel_store(store)) as client:
        sessions = [view.session_id for view in await client.sessions()]
        for session in sessions:
            closed = await client.close_session(session)
            report.fact(f"settlement of {session}", closed.view.settlement_signature)
    after = await stood.balance(stood.agent.pubkey()), await stood.balance(stood.payee.pubkey())
    report.equal("base units that the agent paid, on chain", before[0] - after[0], WITHIN * PRICE)
    report.equal("base units that the provider got, on chain", after[1] - before[1], WITHIN * PRICE)


def words(result: CallToolResult) -> str:
    """What a tool says."""
    return " ".join(part.text for part in result.content if isinstance(part, TextContent))
