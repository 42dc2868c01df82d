"""Keeping event streams open: so many for a session at once, until the reader leaves or the service ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.types import Receive, Send

from retainer.protocol.problems import ProblemType
from retainer_provider.people.events import MEDIA_TYPE
from retainer_provider.rates import Slots
from retainer_provider.sessions.refusals import refuse
from retainer_provider.wire import headers
from retainer_provider.wire.problems import STATUS_OK

_OF_ONE_TOKEN: Final = 8
STREAM_HEAD: Final = (
    ("content-type", MEDIA_TYPE),
    ("cache-control", "private, no-store"),
    # Proxies that collect answers would hold events back.
    ("x-accel-buffering", "no"),
)


class EventStreams:
    """The streams of this process, `most` of them at once."""

    def __init__(self, most: int) -> None:
        self.ended = asyncio.Event()
        self._each = Slots(_OF_ONE_TOKEN)
        self._all = Slots(max(1, most))

    async def send(self, whose: str, events: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
        """Send events as they come; RefusedError, before anything is sent, when too many streams are open."""
        with self._all.hold() as room, self._each.hold(whose) as own_room:
            if not room or not own_room:
                raise refuse(
                    ProblemType.TOO_MANY_REQUESTS,
                    "Too many event streams of this session are open: close one, or poll.",
                    retry_after=5,
                )
            await send({"type": "http.response.start", "status": STATUS_OK, "headers": headers.encode(STREAM_HEAD)})
            sending = asyncio.create_task(_send_all(events, send))
            leaving = asyncio.create_task(_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    def stop(self) -> None:
        """End all of them: their readers come back to another process, or to this one's successor."""
        self.ended.set()


async def _send_all(events: AsyncIterator[bytes], send: Send) -> None:
    async for event in events:
        await send({"type": "http.response.body", "body": event, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
