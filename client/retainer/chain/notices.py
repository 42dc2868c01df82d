"""What a node announces over its websocket: that an account changed, never what to. Hints, to look sooner.

An announcement is lost without a trace when a connection breaks, and whoever speaks for the node can make one up. So
nothing that it says is believed but the address, and who listens goes on polling.
"""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from solders.pubkey import Pubkey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from retainer.chain.errors import ChainUnavailableError
from retainer.chain.wire import Context

# An announcement without the account's data takes some 300 bytes.
_LARGEST_MESSAGE: Final = 65_536
_PATIENCE: Final = 20.0  # seconds for connecting, and for a silent connection to answer a ping


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened to the account at ``address``, in ``slot`` if the node is to be believed."""

    address: Pubkey
    slot: int


class _Changed(msgspec.Struct):
    pubkey: str


class _Result(msgspec.Struct):
    context: Context
    value: _Changed


class _Params(msgspec.Struct):
    result: _Result


class _Refusal(msgspec.Struct):
    message: str = ""


class _Message(msgspec.Struct):
    method: str = ""
    params: _Params | None = None
    error: _Refusal | None = None


_MESSAGES: Final = msgspec.json.Decoder(_Message)


async def program_notices(url: str, *, program: Pubkey, offset: int, key: Pubkey) -> AsyncGenerator[Notice | None]:
    """Changes at `confirmed` of the accounts of ``program`` that hold ``key`` at ``offset``, until the connection ends.

    The first item is None, once the node has taken the subscription: what changed before is told by nobody.
    ChainUnavailableError in the end, whatever the reason; its text names no more of the URL than the host.
    """
    host = urlsplit(url).hostname
    try:
        async with connect(
            url, open_timeout=_PATIENCE, ping_interval=_PATIENCE, ping_timeout=_PATIENCE, max_size=_LARGEST_MESSAGE
        ) as socket:
            await socket.send(_subscription(program, offset, key))
            while True:
                notice = _read(await socket.recv())
                yield notice
    except ConnectionClosed:
        raise ChainUnavailableError(f"{host} ended the connection for announcements") from None
    except (OSError, WebSocketException) as error:
        # An exception of the library may quote the URL, which may hold a key.
        raise ChainUnavailableError(f"{host} cannot be listened to: {type(error).__name__}") from None


def _subscription(program: Pubkey, offset: int, key: Pubkey) -> str:
    options: dict[str, Any] = {
        "encoding": "base64",
        "commitment": "confirmed",
        "dataSlice": {"offset": 0, "length": 0},
        "filters": [{"memcmp": {"offset": offset, "bytes": str(key)}}],
    }
    request = {"jsonrpc": "2.0", "id": 1, "method": "programSubscribe", "params": [str(program), options]}
    return json.dumps(request)


def _read(raw: str | bytes) -> Notice | None:
    try:
        message = _MESSAGES.decode(raw)
        if message.error is not None:
            raise ChainUnavailableError(f"the node refused to announce changes: {message.error.message:.200}")
        if message.params is None:
            return None
        changed = message.params.result
        return Notice(Pubkey.from_string(changed.value.pubkey), changed.context.slot)
    except (msgspec.DecodeError, ValueError):
        raise ChainUnavailableError("the node announced something that cannot be read") from None
