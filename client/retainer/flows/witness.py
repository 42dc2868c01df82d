"""Seeing for oneself: an answer is timed and hashed on its way to the caller, and kept beside its receipt."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import cast

import httpx

from retainer.chain.confirm import Timer
from retainer.flows.answers import RECEIPT_EXTENSION, receipt_of
from retainer.flows.streams import is_metered, is_stream
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.errors import MessageError
from retainer.protocol.receipts import Receipt
from retainer.stores.receipts import KeptReceipt, Observation, ReceiptFolder


class Witness:
    """Watches answers for one client; with no folder to keep receipts in, it does nothing. ``now`` is Unix seconds."""

    def __init__(self, folder: ReceiptFolder | None, timer: Timer, now: Callable[[], int]) -> None:
        self._folder = folder
        self._timer = timer
        self._now = now

    def clock(self) -> float:
        """Seconds, to hand to ``watch`` as the time at which a request left."""
        return self._timer.monotonic()

    def watch(self, response: httpx.Response, session_id: str, *, sent: float, repeated: bool) -> None:
        """Keep the answer's receipt once its body has come or is given up; an answer without one is passed by.

        Of a stream that is the one that ends it.

        Whether the receipt is right is not asked: a wrong one that is signed is the best evidence there is.
        """
        folder, head = self._folder, self._timer.monotonic()
        receipt = _receipt(response)
        if folder is None or receipt is None:
            return

        def keep_last(_body: bytes | None) -> None:
            # Its operator measures to the first byte, so the times seen here would contradict it for nothing.
            last = response.extensions.get(RECEIPT_EXTENSION)
            if last is not None:
                folder.keep(session_id, KeptReceipt(last))

        def keep(body: bytes | None) -> None:
            end = self._timer.monotonic()
            request = response.request
            target = request.url.raw_path.decode("ascii")
            seen = Observation(
                received_at=self._now(),
                first_byte_ms=round((head - sent) * 1000),
                latency_ms=round((end - sent) * 1000),
                status=response.status_code,
                request_digest=request_digest(request.method, target, request.content).hex(),
                body_digest=None if body is None else body.hex(),
                repeated=repeated,
            )
            folder.keep(session_id, KeptReceipt(receipt, seen))

        if is_stream(response) and not is_metered(receipt):
            response.stream = _Watched(cast("httpx.ByteStream", response.stream), keep_last)
        elif response.is_stream_consumed:
            # Decoded by now, where it came encoded: what travelled cannot be hashed any more.
            keep(None if "content-encoding" in response.headers else body_digest(response.content))
        else:
            # What httpx hands out is of both kinds in name; which one is used is the caller's.
            response.stream = _Watched(cast("httpx.ByteStream", response.stream), keep)


class _Watched(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that passes through unchanged; ``keep`` gets its digest at the end, None where it ended early."""

    def __init__(self, body: httpx.ByteStream, keep: Callable[[bytes | None], None]) -> None:
        self._body = body
        self._keep = keep
        self._hash = hashlib.sha256()
        self._whole = False
        self._kept = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            self._hash.update(chunk)
            yield chunk
        self._whole = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            self._hash.update(chunk)
            yield chunk
        self._whole = True

    def close(self) -> None:
        self._body.close()
        self._end()

    async def aclose(self) -> None:
        await self._body.aclose()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        if not self._kept:
            self._kept = True
            self._keep(self._hash.digest() if self._whole else None)


def _receipt(response: httpx.Response) -> Receipt | None:
    try:
        return receipt_of(response)
    except MessageError:
        return None
