"""Both ends of ASGI's lifespan protocol: answering a server's, and running that of an app behind us."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Send

from retainer.protocol.errors import RetainerError

_log = structlog.get_logger(__name__)

_STARTUP: Final = "lifespan.startup"
_SHUTDOWN: Final = "lifespan.shutdown"


class StartupError(RetainerError):
    """An app behind us said that it cannot start."""


async def serve_lifespan(
    running: Callable[[], AbstractAsyncContextManager[None]], receive: Receive, send: Send
) -> None:
    """Hold `running` open from the server's startup to its shutdown; what it refuses is told to the server."""
    await receive()
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(running())
        except RetainerError as error:
            await send({"type": f"{_STARTUP}.failed", "message": str(error)})
            return
        await send({"type": f"{_STARTUP}.complete"})
        await receive()
    await send({"type": f"{_SHUTDOWN}.complete"})


@asynccontextmanager
async def run_lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start `app`, and shut it down at the end. One that does not know the protocol simply runs."""
    events: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.ensure_future(_lifespan(app, events, answers))
    try:
        await events.put({"type": _STARTUP})
        started = await answers.get()
        if started["type"] == f"{_STARTUP}.failed":
            raise StartupError(f"the gated app did not start: {started.get('message', '')}")
        yield
        await events.put({"type": _SHUTDOWN})
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _lifespan(app: ASGIApp, events: asyncio.Queue[Message], answers: asyncio.Queue[Message]) -> None:
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    try:
        await app(scope, events.get, answers.put)
    except Exception as error:  # noqa: BLE001 - ASGI: raising here means that the protocol is not supported
        _log.debug("upstream_without_lifespan", error=str(error))
    finally:
        # Whoever still waits for an answer gets one; after the startup's own this one is never read.
        await answers.put({"type": f"{_STARTUP}.complete"})
