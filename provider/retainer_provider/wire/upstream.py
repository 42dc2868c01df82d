"""Calling the gated service: any ASGI app, in this process or the reverse proxy, with its whole answer collected.

The answer is held back until it is complete, because no response may leave before its charge is committed. Event
streams of routes that are sold as such are the exception: they are handed on as they come.
"""

import asyncio

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope

from retainer_provider.clock import Clock
from retainer_provider.tariffs import said_units
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer, collected, require_status
from retainer_provider.wire.failures import UpstreamFailure, UpstreamUnreachableError
from retainer_provider.wire.flow import Flow, flows
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest

_log = structlog.get_logger(__name__)


class UpstreamResult(msgspec.Struct, frozen=True):
    """What came of a call: an answer, its beginning, or the reason for none; `said` is how many units it is to cost.

    `latency_ms` runs to the upstream's last byte, of what flows to the first.
    """

    outcome: Answer | Flow | UpstreamFailure
    latency_ms: int
    said: int | None = None


class Upstream:
    """Calls an ASGI app; `limit` in bytes, `timeout` in seconds."""

    def __init__(self, app: ASGIApp, *, clock: Clock, limit: int, timeout: float) -> None:
        self._app = app
        self._clock = clock
        self._limit = limit
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def limit(self) -> int:
        """The longest answer that is taken, in bytes."""
        return self._limit

    async def call(self, scope: Scope, body: bytes, *, stream: bool = False) -> UpstreamResult:
        """Send one request whose body is already read, and wait for the whole answer; with `stream` for its first byte.

        That is so for event streams only: any other answer is waited for.
        """
        collector = _Collector(scope, self._limit, self._clock, stream=stream)
        started = self._clock.monotonic()
        # ASGI extensions such as `pathsend` would let an answer leave around the collector.
        task = collector.task = asyncio.get_running_loop().create_task(
            self._run({**scope, "extensions": {}}, body, collector)
        )
        self._tasks.add(task)
        try:
            await asyncio.sleep(0)  # in which most apps of this process have answered
            # The app may go on after its last byte (background tasks): that is not the client's to wait for.
            if not collector.finished.done():
                await asyncio.wait_for(asyncio.shield(collector.finished), self._timeout)
            failure = collector.finished.result()
        except TimeoutError:
            failure = UpstreamFailure.TIMEOUT
        except asyncio.CancelledError:
            task.cancel()
            raise
        if failure:
            task.cancel()
        ended = collector.ended_at or self._clock.monotonic()
        outcome = failure or collector.flow or collector.answer()
        return UpstreamResult(outcome, round((ended - started) * 1000), collector.said())

    async def aclose(self) -> None:
        """Stop what the app still runs after its answers."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, scope: Scope, body: bytes, collector: "_Collector") -> None:
        failure = UpstreamFailure.BROKEN
        try:
            await self._app(scope, _once(body, collector), collector.send)
        except UpstreamUnreachableError as error:
            _log.warning("upstream_unreachable", error=str(error))
            failure = UpstreamFailure.UNREACHABLE
        except Exception:  # noqa: BLE001 - whatever the gated app raises is its failure, not ours
            _log.exception("upstream_raised")
        finally:
            collector.finish(failure)
            if collector.task is not None:
                self._tasks.discard(collector.task)


class _Collector:
    def __init__(self, scope: Scope, limit: int, clock: Clock, *, stream: bool) -> None:
        self.ended_at: float | None = None
        self.flow: Flow | None = None
        self.task: asyncio.Task[None] | None = None
        self.finished: asyncio.Future[UpstreamFailure | None] = asyncio.get_running_loop().create_future()
        self._over = False
        self._left: asyncio.Event | None = None
        self._stream = stream
        self._method: str = scope["method"]
        self._paid = scope.get(SCOPE_KEY)
        self._status = 0
        self._headers: tuple[tuple[str, str], ...] = ()
        self._said: int | None = None
        self._body = b""
        self._chunks: bytearray | None = None
        self._limit = limit
        self._clock = clock

    def answer(self) -> Answer:
        """What was collected; meaningful once finished without a failure."""
        body = self._body if self._chunks is None else bytes(self._chunks)
        return collected(self._method, self._status, self._headers, body)

    def said(self) -> int | None:
        """The units that the answer is to cost, as an app in this process has charged so far, or a header has it."""
        charged = self._paid.charged if isinstance(self._paid, PaidRequest) else None
        return self._said if charged is None else charged

    def finish(self, failure: UpstreamFailure | None) -> None:
        """Set the outcome; the first one stands."""
        self._over = True
        if self._left is not None:
            self._left.set()
        if self.flow is not None:
            self.flow.end(failure, self.said())
        self._return(failure)

    async def over(self) -> None:
        """Wait until the answer is complete, or there will be none."""
        if not self._over:
            self._left = self._left or asyncio.Event()
            await self._left.wait()

    async def send(self, message: Message) -> None:
        """The app's `send`."""
        if self._over:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._status = require_status(message["status"])
            self._headers, said = headers.from_upstream(message.get("headers", ()))
            self._said = said_units(said) if said is not None else None
        elif kind == "http.response.body":
            if not self._status:
                raise ValueError("the app sent a body before its status")
            chunk, more = message.get("body", b""), message.get("more_body", False)
            if self.flow is not None or (chunk and more and self._flows()):
                await self._hand_on(chunk, more=more)
                return
            self._collect(chunk, more=more)

    def _collect(self, chunk: bytes, *, more: bool) -> None:
        if self._chunks is None and not more:
            self._body, length = chunk, len(chunk)  # all at once, so that it need not be copied
        else:
            self._chunks = bytearray() if self._chunks is None else self._chunks
            self._chunks += chunk
            length = len(self._chunks)
        if length > self._limit:
            self.finish(UpstreamFailure.TOO_LARGE)
        elif not more:
            self.finish(None)

    def _flows(self) -> bool:
        return self._stream and not self._chunks and flows(self._status, self._headers)

    async def _hand_on(self, chunk: bytes, *, more: bool) -> None:
        if self.flow is None:
            self.flow = Flow(Answer(self._status, self._headers, b""), self._stop)
            self._return(None)
        if chunk:
            await self.flow.put(chunk, self.said())
        if not more:
            self.finish(None)

    def _stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _return(self, failure: UpstreamFailure | None) -> None:
        """Let the call return with what there is."""
        if not self.finished.done():
            self.ended_at = self._clock.monotonic()
            self.finished.set_result(failure)


def _once(body: bytes, collector: _Collector) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        # A client that leaves does not stop its request: it is finished, charged and kept for a retry.
        await collector.over()
        return {"type": "http.disconnect"}

    return receive
