"""The MCP server: each call of a tool is a request that a session pays for, within the caps of its client."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final

import httpx
import mcp_types as types
from mcp.server import Server, ServerRequestContext

from retainer.errors import RefusedError
from retainer.flows.answers import RECEIPT_EXTENSION, problem_of
from retainer.mcp.tools import PaidTool
from retainer.protocol.amounts import format_amount
from retainer.protocol.errors import RetainerError
from retainer.protocol.receipts import Receipt
from retainer.session_client import SessionClient

SPENDING: Final = "retainer_spending"
"""The free tool that tells what was spent and what is left."""
COST: Final = "retainer/charged"
"""Where a result's ``_meta`` says what the call cost, in base units, as a decimal string."""
SESSION: Final = "retainer/session"

_INSTRUCTIONS: Final = (
    "Each tool but retainer_spending is paid for, within caps that the user has set and this server cannot raise. "
    "A call beyond them is refused and costs nothing."
)


def paid_server(client: SessionClient, tools: Iterable[PaidTool]) -> Server[Any]:
    """A server that offers the tools, and one that tells what was spent; `client` has the caps and pays."""
    offered = {tool.name: tool for tool in tools}

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        listed = [
            types.Tool(name=tool.name, description=tool.description, input_schema=tool.input_schema)
            for tool in offered.values()
        ]
        about = "What is open and what was spent at which service. Free"
        spending = types.Tool(name=SPENDING, description=about, input_schema={"type": "object", "properties": {}})
        return types.ListToolsResult(tools=[*listed, spending])

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name == SPENDING:
            return _text(await _spending(client))
        tool = offered.get(params.name)
        if tool is None:
            return _failure(f"there is no tool {params.name}; there are {', '.join(offered)} and {SPENDING}")
        try:
            url, parameters = tool.request(params.arguments or {})
            return _result(await client.request(tool.method, url, **parameters))
        except RefusedError as refusal:
            return _failure(f"Not paid: {refusal}")
        except (RetainerError, httpx.HTTPError, ValueError) as error:
            return _failure(str(error) or type(error).__name__)

    return Server(
        "retainer",
        version=version("retainer"),
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _spending(client: SessionClient) -> str:
    views = [await client.get_session(view.session_id) for view in await client.sessions()]
    lines = [
        f"{view.metadata['resource']}: {format_amount(view.spent, view.token.decimals)} of "
        f"{format_amount(view.deposit, view.token.decimals)} spent, {view.state}, session {view.session_id}"
        for view in views
    ]
    return "\n".join(lines) or "nothing was spent, and no session is open"


def _result(response: httpx.Response) -> types.CallToolResult:
    problem = problem_of(response)
    if problem is not None:
        return _failure(f"{response.status_code} {problem.title}: {problem.detail}")
    receipt: Receipt | None = response.extensions.get(RECEIPT_EXTENSION)
    return types.CallToolResult(
        content=[types.TextContent(text=response.text)], is_error=response.is_error, _meta=_cost(receipt)
    )


def _cost(receipt: Receipt | None) -> dict[str, Any] | None:
    if receipt is None:
        return None
    metered = receipt.retainer.metered if receipt.retainer else None
    charged = {} if metered is None else {COST: str(metered.amount if metered.charged else 0)}
    return {**charged, SESSION: str(receipt.reference)}


def _text(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)])


def _failure(sentence: str) -> types.CallToolResult:
    # An error of the tool, not of the protocol: the model is to read the sentence.
    return types.CallToolResult(content=[types.TextContent(text=sentence)], is_error=True)
