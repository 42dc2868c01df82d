"""An upstream's answer whose body is still coming: the app writes it, the metering reads it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from retainer_provider.event_stream import MEDIA_TYPE
from retainer_provider.wire.answers import Answer, is_success
from retainer_provider.wire.failures import UpstreamFailure

# Chunks that an app may be ahead of its reader.
_AHEAD: Final = 8


def flows(status: int, headers: tuple[tuple[str, str], ...]) -> bool:
    """Whether an answer is an event stream that can be read on its way: a compressed one cannot."""
    named = dict(headers)
    plain = named.get("content-encoding", "identity") == "identity"
    return is_success(status) and plain and named.get("content-type", "").split(";")[0].strip() == MEDIA_TYPE


@dataclass(slots=True)
class _Room:
    chunks: asyncio.Queue[tuple[bytes | UpstreamFailure | None, int | None]]
    free: asyncio.Event


class Flow:
    """``head`` is the answer without its body; ``stop`` ends the app that writes it.

    ``said`` is the figure that the app had given when it wrote what was read last: it may be ahead of its reader.
    """

    def __init__(self, head: Answer, stop: Callable[[], object]) -> None:
        self.head = head
        self.said: int | None = None
        self._stop = stop
        self._room = _Room(asyncio.Queue(), asyncio.Event())
        self._over = False

    async def put(self, chunk: bytes, said: int | None) -> None:
        """The app's side: hand over a chunk, and wait while the reader is too far behind."""
        self._room.free.clear()
        self._room.chunks.put_nowait((chunk, said))
        if self._room.chunks.qsize() > _AHEAD:
            await self._room.free.wait()

    def end(self, failure: UpstreamFailure | None, said: int | None) -> None:
        """The app's side: nothing follows; the first word stands."""
        if not self._over:
            self._over = True
            self._room.chunks.put_nowait((failure, said))

    async def read(self, seconds: float) -> bytes | UpstreamFailure | None:
        """The next chunk; why there is none; or None after the last."""
        try:
            item, self.said = await asyncio.wait_for(self._room.chunks.get(), seconds)
        except TimeoutError:
            return UpstreamFailure.TIMEOUT
        self._room.free.set()
        return item

    async def whole(self, limit: int, seconds: float) -> Answer | UpstreamFailure:
        """All of it as one answer, when it is not to flow after all."""
        body = bytearray()
        while chunk := await self.read(seconds):
            if isinstance(chunk, UpstreamFailure):
                return chunk
            body += chunk
            if len(body) > limit:
                self.close()
                return UpstreamFailure.TOO_LARGE
        return Answer(self.head.status, self.head.headers, bytes(body))

    def close(self) -> None:
        """Nobody reads any more."""
        self._room.free.set()
        self._stop()
