"""Putting a session's events on the wire as they happen: server-sent events, resumable by the last one's number."""

import asyncio
import contextlib
import json
from typing import Final

from starlette.types import Receive, Send

from retainer_provider.activity.log import events_after
from retainer_provider.books.ledger import Ledger, LedgerUnavailableError
from retainer_provider.books.steps import Bell, heard
from retainer_provider.event_stream import MEDIA_TYPE
from retainer_provider.wire import headers
from retainer_provider.wire.problems import STATUS_OK

_POLL_SECONDS: Final = 1.0
_ALIVE_SECONDS: Final = 15.0
_ALIVE: Final = b": alive\n\n"
# So long a client may take to read what it is sent.
_PATIENCE_SECONDS: Final = 30.0
_HEAD: Final = (
    ("content-type", MEDIA_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),  # a proxy that waits for more would hold the events back
)


async def send_events(send: Send, receive: Receive, *, ledger: Ledger, bell: Bell, session_id: str, after: int) -> None:
    """Send what happens after this number, until the client leaves."""
    left = asyncio.create_task(_left(receive))
    loop = asyncio.get_running_loop()

    async def give(data: bytes) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await send({"type": "http.response.body", "body": data, "more_body": True})

    try:
        with contextlib.suppress(OSError, LedgerUnavailableError):  # a TimeoutError is one of the first
            await send({"type": "http.response.start", "status": STATUS_OK, "headers": headers.encode(_HEAD)})
            await give(_ALIVE)
            alive_at = loop.time()
            while not left.done():
                ring = bell.next()
                found = await events_after(ledger, session_id, after)
                for one in found:
                    data = json.dumps(one.to_json())
                    await give(f"id: {one.number}\nevent: {one.event.kind}\ndata: {data}\n\n".encode())
                    after = one.number
                if loop.time() - alive_at >= _ALIVE_SECONDS:
                    await give(_ALIVE)
                    alive_at = loop.time()
                if not found:
                    waiting = asyncio.create_task(heard(ring, _POLL_SECONDS))
                    await asyncio.wait((waiting, left), return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
    finally:
        left.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
