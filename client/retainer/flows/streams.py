"""A metered stream as it arrives: passed on as it is, with the receipt that ends it entered in the books."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final, TypeAlias

import httpx

from retainer.protocol.constants import RECEIPT_EVENT
from retainer.protocol.receipts import Receipt

_MEDIA_TYPE: Final = "text/event-stream"
_RECEIPT: Final = f"event: {RECEIPT_EVENT}\ndata: ".encode()
# A receipt is the last event, and shorter than this.
_TAIL_BYTES: Final = 8_192

Ended: TypeAlias = Callable[[str | None, bytes], Awaitable[None]]
"""Told once: the text of the receipt, None where it has not come, and SHA-256 of all that came before it."""


def is_stream(response: httpx.Response) -> bool:
    """Whether an answer is one that ends with its receipt, rather than beginning with it."""
    named: str = response.headers.get("Content-Type", "")
    return response.is_success and named.split(";", maxsplit=1)[0].strip() == _MEDIA_TYPE


def is_metered(receipt: Receipt) -> bool:
    """Whether a receipt is about one request; the one that a stream begins with is not yet."""
    return receipt.retainer is not None and receipt.retainer.metered is not None


class MeteredBody(httpx.AsyncByteStream, httpx.SyncByteStream):
    """The body of a stream; ``wait`` is how a program without an event loop waits for what is told."""

    def __init__(self, body: httpx.AsyncByteStream | httpx.SyncByteStream, ended: Ended) -> None:
        self.wait: Callable[[Coroutine[Any, Any, None]], None] | None = None
        self._body = body
        self._ended = ended
        self._told = False
        self._digest = hashlib.sha256()
        self._tail = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not isinstance(self._body, httpx.AsyncByteStream):
            raise TypeError("this body was received without an event loop: iterate over it without one")
        async for chunk in self._body:
            self._take(chunk)
            yield chunk
        await self._tell()

    def __iter__(self) -> Iterator[bytes]:
        if not isinstance(self._body, httpx.SyncByteStream):
            raise TypeError("this body was received on an event loop: iterate over it asynchronously")
        for chunk in self._body:
            self._take(chunk)
            yield chunk
        self._tell_and_wait()

    async def aclose(self) -> None:
        """Let go of the connection; a caller that has read enough leaves without the receipt."""
        if isinstance(self._body, httpx.AsyncByteStream):
            await self._body.aclose()
        await self._tell()

    def close(self) -> None:
        """The same, without an event loop."""
        if isinstance(self._body, httpx.SyncByteStream):
            self._body.close()
        self._tell_and_wait()

    async def take_whole(self, content: bytes) -> None:
        """For a body that was read before anybody asked for it here."""
        self._take(content)
        await self._tell()

    def _take(self, chunk: bytes) -> None:
        tail = self._tail + chunk
        split = max(0, len(tail) - _TAIL_BYTES)
        self._digest.update(tail[:split])
        self._tail = tail[split:]

    async def _tell(self) -> None:
        if not self._told:
            self._told = True
            before, found, receipt = self._tail.rpartition(_RECEIPT)
            ended = bool(found) and receipt.endswith(b"\n\n")
            self._digest.update(before if ended else self._tail)
            await self._ended(receipt.strip().decode("ascii", "replace") if ended else None, self._digest.digest())

    def _tell_and_wait(self) -> None:
        if self.wait is not None:
            self.wait(self._tell())
