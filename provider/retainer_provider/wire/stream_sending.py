"""Putting a metered stream on the wire of any ASGI server, for as long as somebody listens."""

import asyncio
import contextlib

from starlette.types import Message, Receive, Send

from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.wire import headers


async def send_stream(send: Send, receive: Receive, stream: MeteredStream, *named: tuple[str, str]) -> None:
    """Send it to its end, or until its client leaves or takes nothing more; with ``named`` among its headers."""

    async def give(message: Message) -> None:
        # Who does not read would else hold its reservation, and a place in this service, for as long as it likes.
        async with asyncio.timeout(stream.patience):
            await send(message)

    left = asyncio.create_task(_left(receive))
    head = stream.head.with_headers(*named)
    try:
        # A server raises once the client is gone, or says so when asked, or both. A TimeoutError is one of these.
        with contextlib.suppress(OSError):
            await give({"type": "http.response.start", "status": head.status, "headers": headers.encode(head.headers)})
            while (chunk := await _next(stream, left)) is not None:
                await give({"type": "http.response.body", "body": chunk, "more_body": True})
            if not left.done():
                await give({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        left.cancel()
        await stream.aclose()


async def _next(stream: MeteredStream, left: asyncio.Task[None]) -> bytes | None:
    """The next chunk to send; what was read before the client left was counted, so it is sent all the same."""
    if left.done():
        return None
    reading = asyncio.create_task(stream.read())
    try:
        await asyncio.wait((reading, left), return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        reading.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
