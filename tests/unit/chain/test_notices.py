"""Announcements of a node, over a real websocket: what they are, and every way in which they end."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from solders.pubkey import Pubkey
from websockets.asyncio.server import ServerConnection, serve

from retainer.chain.errors import ChainUnavailableError
from retainer.chain.notices import Notice, program_notices
from retainer.protocol.constants import PROGRAM_ID

SESSION, OPERATOR = Pubkey.from_bytes(bytes([1]) * 32), Pubkey.from_bytes(bytes([2]) * 32)
TAKEN = {"jsonrpc": "2.0", "id": 1, "result": 7}


def announcement(address: str = str(SESSION), slot: object = 5) -> dict[str, Any]:
    result = {
        "context": {"slot": slot},
        "value": {"pubkey": address, "account": {"lamports": 1, "data": ["", "base64"]}},
    }
    return {"jsonrpc": "2.0", "method": "programNotification", "params": {"result": result, "subscription": 7}}


async def heard(*messages: object) -> tuple[Sequence[Notice | None], str, Any]:
    """What is made of these messages, why it ended, and what was asked of the node."""
    asked, notices = list[Any](), list[Notice | None]()

    async def node(socket: ServerConnection) -> None:
        asked.append(json.loads(await socket.recv()))
        for message in messages:
            await socket.send(message if isinstance(message, str) else json.dumps(message))

    async with serve(node, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/?api-key=SECRET"
        ended = ""
        try:
            async for notice in program_notices(url, program=PROGRAM_ID, offset=72, key=OPERATOR):
                notices += [notice]
        except ChainUnavailableError as error:
            ended = str(error)
    assert ended
    assert "SECRET" not in ended
    return notices, ended, asked[0]


async def test_a_change_is_announced_by_its_address_alone() -> None:
    notices, why, asked = await heard(TAKEN, announcement(), announcement(slot=6))
    assert notices == [None, Notice(SESSION, 5), Notice(SESSION, 6)]
    assert "ended the connection" in why
    program, options = asked["params"]
    assert (asked["method"], program) == ("programSubscribe", str(PROGRAM_ID))
    assert options["filters"] == [{"memcmp": {"offset": 72, "bytes": str(OPERATOR)}}]
    assert options["dataSlice"]["length"] == 0


async def test_a_node_that_takes_no_subscription_says_why() -> None:
    notices, why, _ = await heard({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}})
    assert not notices
    assert "Method not found" in why


@pytest.mark.parametrize(
    "garbage",
    [
        "not JSON",
        "[]",
        "null",
        "\x00",
        "{" * 60_000,
        announcement("not a key"),
        announcement(""),
        announcement(slot="5"),
        announcement(slot=-1.5),
        {"method": "programNotification", "params": {"result": None}},
        "x" * 100_000,
    ],
    ids=lambda garbage: str(garbage)[:40],
)
async def test_garbage_ends_the_connection_and_nothing_else(garbage: object) -> None:
    notices, _, _ = await heard(TAKEN, garbage, announcement())
    assert notices == [None]


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "http://127.0.0.1/", "ws://", "nonsense"])
async def test_a_node_that_is_not_there_is_unavailable(url: str) -> None:
    with pytest.raises(ChainUnavailableError):
        await anext(program_notices(url, program=PROGRAM_ID, offset=72, key=OPERATOR))
