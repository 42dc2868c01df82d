"""Who does a turn's work: something that is asked once and made anew for each turn; by default a service over HTTP."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import Scope

from retainer.protocol.constants import HEADER_IDEMPOTENCY_KEY
from retainer_provider.cards.messages import JSON_TYPE, delta_of
from retainer_provider.cards.records import Turn
from retainer_provider.event_stream import MEDIA_TYPE, EventSplitter
from retainer_provider.tariffs import COUNT_UNITS, RunningCount, Tariff
from retainer_provider.wire import headers
from retainer_provider.wire.answers import is_success
from retainer_provider.wire.failures import UpstreamFailure
from retainer_provider.wire.flow import Flow
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest
from retainer_provider.wire.upstream import Upstream, UpstreamResult

Say = Callable[[str], Awaitable[None]]
"""Tells those who watch all that has come so far."""

FENCE_HEADER: Final = "x-retainer-fence"
"""Higher for each later host of a responder: an upstream with a state of its own can refuse the lower ones."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer; `units` is what it costs, where that is not fixed, `latency_ms` how long it took."""

    content_type: str
    body: bytes
    latency_ms: int
    units: int | None

    def to_text(self) -> str:
        """For the store."""
        return json.dumps([self.content_type, self.body.decode(errors="replace"), self.latency_ms, self.units])

    @classmethod
    def from_text(cls, text: str) -> "Answered":
        """What `to_text` wrote."""
        content_type, body, latency_ms, units = json.loads(text)
        return cls(content_type, body.encode(), latency_ms, units)


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer."""

    reason: UpstreamFailure
    latency_ms: int


class Executor(Protocol):
    """Does one turn."""

    async def run(self, turn: Turn, fence: int, say: Say) -> Answered | Failed:
        """Ask with the turn's request, as it is; what it charges by use is in the answer."""
        ...


Make = Callable[[], Executor]
"""Makes an executor for one turn."""


class HttpExecutor:
    """Sends the request to a path of a service, and reads its answer as it comes."""

    def __init__(self, upstream: Upstream, path: str, offer_id: str, tariff: Tariff, *, pause: float) -> None:
        """`pause` is how many seconds may pass between two pieces of a stream."""
        self._upstream = upstream
        self._path = path
        self._offer_id = offer_id
        self._tariff = tariff
        self._pause = pause

    async def run(self, turn: Turn, fence: int, say: Say) -> Answered | Failed:
        """See `Executor`. An answer that is no success is none: nobody pays for it."""
        body = turn.request.encode()
        scope = self._scope(turn, fence, len(body))
        result = await self._upstream.call(scope, body, stream=True)
        outcome = result.outcome
        if isinstance(outcome, UpstreamFailure):
            return Failed(outcome, result.latency_ms)
        if isinstance(outcome, Flow):
            return await self._flowing(outcome, result, say)
        if not is_success(outcome.status):
            return Failed(UpstreamFailure.BROKEN, result.latency_ms)
        content_type = dict(outcome.headers).get("content-type", JSON_TYPE)
        counts = self._tariff.count is not None
        units = self._tariff.used(result.said, outcome.body) if counts else None
        return Answered(content_type, _text(outcome.body), result.latency_ms, units)

    async def _flowing(self, flow: Flow, result: UpstreamResult, say: Say) -> Answered | Failed:
        splitter, body, said, units = EventSplitter(), bytearray(), "", 0
        count = RunningCount(self._tariff, lambda: flow.said)
        try:
            while chunk := await flow.read(self._pause):
                if isinstance(chunk, UpstreamFailure):
                    return Failed(chunk, result.latency_ms)
                body += chunk
                if len(body) > self._upstream.limit:
                    return Failed(UpstreamFailure.TOO_LARGE, result.latency_ms)
                for event in splitter.feed(chunk):
                    units = min(count.after(event), self._tariff.max_units)
                    said += delta_of(event).text
                await say(said)
        finally:
            flow.close()
        counted = units if self._tariff.count is not None else None
        return Answered(MEDIA_TYPE, _text(bytes(body)), result.latency_ms, counted)

    def _scope(self, turn: Turn, fence: int, length: int) -> Scope:
        asked = headers.encode(
            [
                ("host", "localhost"),
                ("content-type", JSON_TYPE),
                ("accept", f"{MEDIA_TYPE}, {JSON_TYPE}, text/plain"),
                (HEADER_IDEMPOTENCY_KEY.lower(), turn.key),
            ]
        )
        sent = headers.to_upstream(asked, session_id=turn.session_id, body_length=length, plain=True)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self._path,
            "raw_path": self._path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [*sent, (FENCE_HEADER.encode(), str(fence).encode())],
            "client": None,
            "server": None,
            SCOPE_KEY: PaidRequest(turn.session_id, self._offer_id, self._tariff),
        }


def counted_units(tariff: Tariff) -> Tariff:
    """The same price, where the executor has counted already."""
    if tariff.count is None:
        return tariff
    return Tariff(units=tariff.units, max_units=tariff.max_units, count=COUNT_UNITS)


def _text(body: bytes) -> bytes:
    # As it is kept, so that what is charged and what is found again are the same bytes.
    return body.decode(errors="replace").encode()
