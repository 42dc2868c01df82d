import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from retainer.protocol.errors import RetainerError
from retainer_provider.lifespan import StartupError, run_lifespan, serve_lifespan


async def test_an_app_behind_us_is_started_and_shut_down() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    async with run_lifespan(Starlette(lifespan=lifespan)):
        assert seen == ["up"]
    assert seen == ["up", "down"]


async def test_an_app_that_cannot_start_says_so() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no model"})

    with pytest.raises(StartupError, match="did not start: no model"):
        async with run_lifespan(app):
            pytest.fail("it did start")


async def test_an_app_without_lifespan_simply_runs() -> None:
    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        assert scope["type"] == "http"

    async with run_lifespan(app):
        pass


async def told(error: Exception | None) -> list[Message]:
    """What a server hears of a service whose start raises `error`."""
    sent: list[Message] = []
    events: asyncio.Queue[Message] = asyncio.Queue()
    events.put_nowait({"type": "lifespan.startup"})
    events.put_nowait({"type": "lifespan.shutdown"})

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        if error is not None:
            raise error
        yield

    async def send(message: Message) -> None:
        sent.append(message)

    await serve_lifespan(running, events.get, send)
    return sent


async def test_a_server_is_told_of_start_and_end() -> None:
    assert [message["type"] for message in await told(None)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_a_server_is_told_in_a_sentence_why_there_is_no_start() -> None:
    assert await told(RetainerError("the database is newer")) == [
        {"type": "lifespan.startup.failed", "message": "the database is newer"}
    ]
