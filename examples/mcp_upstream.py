"""An MCP server to be sold by use: it reverses texts, and a word costs a unit.

    pip install "retainer[mcp]"; uvicorn --app-dir examples mcp_upstream:app --port 9000

In front of it, the provider reads what a call used from its answer; what says nothing (the handshake, the list of
tools) is free. In the offer's settings, instead of their `routes`:

    routes = [{ path = "/mcp", units = 0, max_units = 20, count = "/result/_meta/units" }]

An agent calls it as any other MCP server, through a transport that pays: examples/mcp_agent.py.
"""

from mcp.server import MCPServer
from mcp_types import CallToolResult, TextContent

server = MCPServer("reverser")


@server.tool()
def reverse(text: str) -> CallToolResult:
    """Turn the words of a text round. Costs a unit a word, 20 at most."""
    words = text.split()
    return CallToolResult(content=[TextContent(text=" ".join(reversed(words)))], _meta={"units": len(words)})


# Stateless, and JSON instead of event streams: each request is one answer, which is what is paid for.
app = server.streamable_http_app(json_response=True, stateless_http=True)
