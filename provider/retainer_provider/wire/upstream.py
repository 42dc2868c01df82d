"""Calling the gated service: any ASGI app, in this process or the reverse proxy, with its whole answer collected.

The answer is held back until it is complete, because no response may leave before its charge is committed.
"""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope

from retainer.protocol.errors import RetainerError
from retainer_provider.clock import Clock
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer, collected, require_status

_log = structlog.get_logger(__name__)


class UpstreamFailure(StrEnum):
    """Why there is no answer of the upstream's own."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    BROKEN = "broken"  # it raised, or stopped before its answer was complete


class UpstreamUnreachableError(RetainerError):
    """The upstream could not be connected to, or broke the connection before its answer began."""


@dataclass(frozen=True, slots=True)
class UpstreamResult:
    """What came of a call: an answer, or the reason for none. `latency_ms` runs to the upstream's last byte."""

    outcome: Answer | UpstreamFailure
    latency_ms: int


class Upstream:
    """Calls an ASGI app; `limit` in bytes, `timeout` in seconds."""

    def __init__(self, app: ASGIApp, *, clock: Clock, limit: int, timeout: float) -> None:
        self._app = app
        self._clock = clock
        self._limit = limit
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, scope: Scope, body: bytes) -> UpstreamResult:
        """Send one request whose body is already read, and wait for the whole answer."""
        collector = _Collector(scope["method"], self._limit, self._clock)
        started = self._clock.monotonic()
        # ASGI extensions such as `pathsend` would let an answer leave around the collector.
        task = asyncio.ensure_future(self._run({**scope, "extensions": {}}, _once(body, collector.finished), collector))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # The app may go on after its last byte (background tasks): that is not the client's to wait for.
            failure = await asyncio.wait_for(asyncio.shield(collector.finished), self._timeout)
        except TimeoutError:
            failure = UpstreamFailure.TIMEOUT
        except asyncio.CancelledError:
            task.cancel()
            raise
        if failure:
            task.cancel()
        ended = collector.ended_at or self._clock.monotonic()
        return UpstreamResult(failure or collector.answer(), round((ended - started) * 1000))

    async def aclose(self) -> None:
        """Stop what the app still runs after its answers."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, scope: Scope, receive: Receive, collector: "_Collector") -> None:
        failure = UpstreamFailure.BROKEN
        try:
            await self._app(scope, receive, collector.send)
        except UpstreamUnreachableError as error:
            _log.warning("upstream_unreachable", error=str(error))
            failure = UpstreamFailure.UNREACHABLE
        except Exception:  # noqa: BLE001 - whatever the gated app raises is its failure, not ours
            _log.exception("upstream_raised")
        finally:
            collector.finish(failure)


class _Collector:
    def __init__(self, method: str, limit: int, clock: Clock) -> None:
        self.ended_at: float | None = None
        self.finished: asyncio.Future[UpstreamFailure | None] = asyncio.get_running_loop().create_future()
        self._method = method
        self._status: int | None = None
        self._headers: list[tuple[str, str]] = []
        self._chunks = bytearray()
        self._limit = limit
        self._clock = clock

    def answer(self) -> Answer:
        """What was collected; meaningful once finished without a failure."""
        return collected(self._method, self._status or 0, headers.to_client(self._headers), bytes(self._chunks))

    def finish(self, failure: UpstreamFailure | None) -> None:
        """Set the outcome; the first one stands."""
        if not self.finished.done():
            self.ended_at = self._clock.monotonic()
            self.finished.set_result(failure)

    async def send(self, message: Message) -> None:
        if self.finished.done():
            return
        if message["type"] == "http.response.start":
            self._status = require_status(message["status"])
            self._headers = headers.decode(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            if self._status is None:
                raise ValueError("the app sent a body before its status")
            self._chunks += message.get("body", b"")
            if len(self._chunks) > self._limit:
                self.finish(UpstreamFailure.TOO_LARGE)
            elif not message.get("more_body", False):
                self.finish(None)


def _once(body: bytes, answered: asyncio.Future[UpstreamFailure | None]) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        # A client that leaves does not stop its request: it is finished, charged and kept for a retry.
        await asyncio.wait({answered})
        return {"type": "http.disconnect"}

    return receive
