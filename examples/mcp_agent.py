"""Call a tool of an MCP server that is sold. Usage: python mcp_agent.py URL KEYPAIR_FILE RPC_URL TEXT..."""

import asyncio
import sys

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from retainer import SessionClient, SpendingCaps, load_keypair
from retainer.mcp.transport import PaidTransport


async def main(url: str, keypair: str, rpc_url: str, *texts: str) -> None:
    """One deposit of 1.0, a call for each text, one settlement."""
    caps = SpendingCaps(per_session="1.0", per_day="1.0")
    async with SessionClient(load_keypair(keypair), rpc_url=rpc_url, caps=caps, deposit="1.0") as payer:
        async with (
            httpx2.AsyncClient(transport=PaidTransport(payer)) as http,
            Client(streamable_http_client(url, http_client=http)) as tools,
        ):
            for text in texts:
                print((await tools.call_tool("reverse", {"text": text})).content[0].text)
        for session in await payer.sessions():
            print(await payer.close_session(session.session_id))


asyncio.run(main(*sys.argv[1:]))
