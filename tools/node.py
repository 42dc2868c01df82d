"""A node's JSON-RPC over any chain, for reading: what auditors' tools ask, answered in the form that nodes answer in.

So that commands which take an RPC URL can be shown a chain in memory, or a recorded history.
"""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from solders.pubkey import Pubkey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retainer.chain.base import AccountInfo, Chain, Commitment
from tools.evidence.history import Recorded


class Node:
    """Answers of `chain`; `asked` counts requests by method, and `busy` of them are told to come back in a second."""

    def __init__(self, chain: Chain | Recorded) -> None:
        self._chain = chain
        self.asked: dict[str, int] = {}
        self.busy = 0
        self._methods: dict[str, Callable[..., Awaitable[object]]] = {
            "getAccountInfo": self._account,
            "getMultipleAccounts": self._accounts,
            "getSlot": self._slot,
            "getProgramAccounts": self._program_accounts,
            "getSignaturesForAddress": self._signatures,
            "getTransaction": self._transaction,
        }

    async def answer(self, request: Request) -> Response:
        """One JSON-RPC request."""
        asked = json.loads(await request.body())
        method = asked["method"]
        self.asked[method] = self.asked.get(method, 0) + 1
        if self.busy:
            self.busy -= 1
            return Response(status_code=429, headers={"Retry-After": "1"})
        result = await self._methods[method](*asked["params"])
        return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    async def _account(self, address: str, config: dict[str, Any]) -> object:
        (found,) = (await self._values([address], config))["value"]
        return {"context": {"slot": await self._chain.slot()}, "value": found}

    async def _slot(self, config: dict[str, Any]) -> object:
        return await self._chain.slot(commitment=_commitment(config))

    async def _accounts(self, addresses: list[str], config: dict[str, Any]) -> object:
        return await self._values(addresses, config)

    async def _values(self, addresses: list[str], config: dict[str, Any]) -> dict[str, Any]:
        commitment = _commitment(config)
        found = await self._chain.accounts([Pubkey.from_string(one) for one in addresses], commitment=commitment)
        values = [None if one is None else _account_json(one) for one in found]
        return {"context": {"slot": await self._chain.slot(commitment=commitment)}, "value": values}

    async def _program_accounts(self, program: str, config: dict[str, Any]) -> object:
        (wanted,) = (one["memcmp"] for one in config["filters"] if "memcmp" in one)
        offset, key = wanted["offset"], Pubkey.from_string(wanted["bytes"])
        found = await self._chain.program_accounts(Pubkey.from_string(program), offset=offset, key=key)
        return [{"pubkey": str(one.address), "account": _account_json(one)} for one in found]

    async def _signatures(self, address: str, config: dict[str, Any]) -> object:
        found = await self._chain.signatures_for(
            Pubkey.from_string(address), limit=config.get("limit", 1000), before=config.get("before")
        )
        return [{"signature": one} for one in found]

    async def _transaction(self, signature: str, config: dict[str, Any]) -> object:
        info = await self._chain.transaction(signature, commitment=_commitment(config))
        if info is None:
            return None
        meta = {"err": json.loads(info.error or "null"), "fee": info.fee, "logMessages": list(info.logs)}
        return {
            "slot": info.slot,
            "blockTime": info.block_time,
            "transaction": [base64.b64encode(info.raw).decode(), "base64"],
            "meta": {**meta, "computeUnitsConsumed": info.compute_units},
        }


def _commitment(config: dict[str, Any]) -> Commitment:
    return Commitment(config.get("commitment", "finalized"))


def _account_json(info: AccountInfo) -> dict[str, Any]:
    data = [base64.b64encode(info.data).decode(), "base64"]
    return {"lamports": info.lamports, "owner": str(info.owner), "data": data}


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[str]:
    """Serve it on a free loopback port while the block runs; yields its URL."""
    app = Starlette(routes=[Route("/", node.answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections from here on, before it is served
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
