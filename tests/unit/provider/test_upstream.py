import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from retainer_provider.clock import SystemClock
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.failures import UpstreamFailure, UpstreamUnreachableError
from retainer_provider.wire.upstream import Upstream, UpstreamResult

SCOPE: Scope = {"type": "http", "method": "POST", "headers": [], "extensions": {"http.response.pathsend": {}}}


class Clock(SystemClock):
    """Advances a quarter of a second at every look."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.25
        return self._now


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def called(*messages: Message, error: Exception | None = None) -> UpstreamResult:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if error is not None:
            raise error

    return await Upstream(app, clock=Clock(), limit=10, timeout=5).call(SCOPE, b"")


async def test_an_answer_is_collected_whole_and_timed_to_its_last_byte() -> None:
    result = await called(start(201, (b"X-A", b"1")), body(b"hel", more=True), body(b"lo"))
    assert result == UpstreamResult(Answer(201, (("x-a", "1"),), b"hello"), 250)


async def test_an_answer_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    """F21: memory is bounded whatever the upstream sends."""
    fits = await called(start(), body(b"0123456789"))
    assert isinstance(fits.outcome, Answer)
    assert (await called(start(), body(b"01234567890"))).outcome is UpstreamFailure.TOO_LARGE
    assert (await called(start(), body(b"0123456789", more=True), body(b"x"))).outcome is UpstreamFailure.TOO_LARGE


async def test_an_app_that_raises_or_stops_halfway_is_broken() -> None:
    """F12."""
    assert (await called(start(), error=ValueError("boom"))).outcome is UpstreamFailure.BROKEN
    assert (await called(start(), body(b"half", more=True))).outcome is UpstreamFailure.BROKEN
    assert (await called()).outcome is UpstreamFailure.BROKEN
    assert (await called(body(b"no status"))).outcome is UpstreamFailure.BROKEN
    for status in (99, 102, 600, 999):
        assert (await called(start(status), body(b"x"))).outcome is UpstreamFailure.BROKEN


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_a_body_that_http_does_not_deliver_is_not_collected(method: str, status: int) -> None:
    """Else the receipt would name the digest of something the client never gets."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start(status, (b"content-length", b"4")))
        await send(body(b"full"))

    result = await Upstream(app, clock=Clock(), limit=10, timeout=5).call({**SCOPE, "method": method}, b"")
    assert result.outcome == Answer(status, (("content-length", "4"),), b"")


async def test_an_app_that_raises_after_its_last_byte_has_answered() -> None:
    result = await called(start(), body(b"done"), error=ValueError("later"))
    assert isinstance(result.outcome, Answer)


async def test_an_unreachable_upstream_is_called_so() -> None:
    result = await called(error=UpstreamUnreachableError("refused"))
    assert result.outcome is UpstreamFailure.UNREACHABLE


async def test_an_app_that_takes_too_long_is_stopped() -> None:
    stopped = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    result = await Upstream(app, clock=SystemClock(), limit=10, timeout=0.01).call(SCOPE, b"")
    assert result.outcome is UpstreamFailure.TIMEOUT
    await stopped.wait()


async def test_the_app_gets_the_body_once_and_no_way_around_the_collector() -> None:
    seen: list[Message] = []
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["extensions"] == {}
        seen.append(await receive())
        await send(start())
        await send(body(b"x"))
        seen.append(await receive())
        ended.set()

    upstream = Upstream(app, clock=SystemClock(), limit=10, timeout=5)
    result = await upstream.call(SCOPE, b"question")
    assert isinstance(result.outcome, Answer)
    await asyncio.wait_for(ended.wait(), 5)
    assert seen == [{"type": "http.request", "body": b"question", "more_body": False}, {"type": "http.disconnect"}]


async def test_what_an_app_does_after_its_answer_is_not_waited_for_but_ended_at_shutdown() -> None:
    ended = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x"))
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    upstream = Upstream(app, clock=SystemClock(), limit=10, timeout=5)
    await upstream.call(SCOPE, b"")
    assert not ended.is_set()
    await upstream.aclose()
    assert ended.is_set()


async def test_a_caller_that_is_cancelled_stops_the_app() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(Upstream(app, clock=SystemClock(), limit=10, timeout=5).call(SCOPE, b""))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ended.wait()
