"""A small service to stand behind the provider: counts what it does and breaks on demand."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_BETWEEN_PARTS_SECONDS: Final = 0.02


@dataclass(slots=True)
class Upstream:
    """`executions` counts how often each Idempotency-Key reached the handler.

    `?fault=slow|error|empty|shape` asks for a broken answer; `slow_seconds` is how slow. `?parts=N` asks for a stream.
    """

    slow_seconds: float = 0.0
    url: str = ""
    executions: dict[str, int] = field(default_factory=dict)

    async def answer(self, request: Request) -> Response:
        """A report with a number of its own, or the fault that was asked for."""
        key = request.headers.get("Idempotency-Key", "")
        self.executions[key] = self.executions.get(key, 0) + 1
        if parts := int(request.query_params.get("parts", "0")):
            return StreamingResponse(_events(parts), media_type="text/event-stream")
        match request.query_params.get("fault"):
            case "slow":
                await asyncio.sleep(self.slow_seconds)
            case "error":
                return JSONResponse({"error": "broken on demand"}, 500)
            case "empty":
                return Response(b"")
            case "shape":
                return JSONResponse({"key": key, "execution": "not a number"})
        return JSONResponse({"key": key, "execution": self.executions[key]})


async def _events(parts: int) -> AsyncIterator[bytes]:
    for part in range(parts):
        yield b"data: part %d\n\n" % part
        await asyncio.sleep(_BETWEEN_PARTS_SECONDS)


@asynccontextmanager
async def running(upstream: Upstream) -> AsyncIterator[Upstream]:
    """Serve it on a free loopback port while the block runs."""
    app = Starlette(routes=[Route("/{path:path}", upstream.answer, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections from here on, before it is served
        upstream.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield upstream
        finally:
            server.should_exit = True
            await task
