"""A fresh Surfpool that says it is devnet: without the program, and with a token of the reader's own."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx
import uvicorn
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from retainer.chain.clusters import genesis_hash
from retainer.chain.rpc import RpcChain
from retainer.chain.testing import create_mint, mint_to
from retainer.localnet import LAMPORTS_PER_SOL, Localnet, airdrop
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

TOKENS: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Devnet:
    """Where it listens, and the token that its faucet gives."""

    rpc_url: str
    mint: Pubkey
    authority: Keypair

    async def give(self, address: Pubkey, *, tokens: bool = False) -> None:
        """What `solana airdrop 2` and `spl-token mint` do there."""
        async with RpcChain(self.rpc_url) as chain:
            await airdrop(self.rpc_url, chain, address, 2 * LAMPORTS_PER_SOL)
            if tokens:
                await mint_to(chain, self.authority, owner=address, mint=self.mint, amount=BaseUnits(TOKENS))


@asynccontextmanager
async def devnet() -> AsyncIterator[Devnet]:
    """Run it while the block runs."""
    # The validator wants a program; it gets one where nobody looks.
    with Localnet.start(slot_ms=100, program_id=Pubkey.new_unique()) as validator:
        async with httpx.AsyncClient(base_url=validator.rpc_url, timeout=30) as http, _fronted(http) as rpc_url:
            authority = Keypair()
            async with RpcChain(rpc_url) as chain:
                await airdrop(rpc_url, chain, authority.pubkey(), 100 * LAMPORTS_PER_SOL)
                mint = await create_mint(chain, authority, decimals=6)
            yield Devnet(rpc_url, mint, authority)


@asynccontextmanager
async def _fronted(http: httpx.AsyncClient) -> AsyncIterator[str]:
    """The validator's RPC, but for the one answer by which clusters are told apart."""

    async def answer(request: Request) -> Response:
        asked = json.loads(await request.body())
        if isinstance(asked, dict) and asked.get("method") == "getGenesisHash":
            said = {"jsonrpc": "2.0", "id": asked["id"], "result": genesis_hash(Network.DEVNET)}
            return Response(json.dumps(said), media_type="application/json")
        answered = await http.post("", json=asked)
        return Response(answered.content, answered.status_code, media_type="application/json")

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
