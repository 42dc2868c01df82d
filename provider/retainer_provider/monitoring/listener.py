"""A port of its own for those who operate the service, so that no client reaches what is told there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from retainer_provider.listening import open_listener
from retainer_provider.monitoring.readiness import Readiness
from retainer_provider.settings import split_address
from retainer_provider.wire.problems import STATUS_OK, STATUS_UNHEALTHY

_log = structlog.get_logger(__name__)


def monitoring_app(readiness: Readiness, exposition: Callable[[], Awaitable[bytes]], media_type: str) -> ASGIApp:
    """`/metrics` for Prometheus, `/healthz` (the process answers) and `/readyz` (it sells, or 503 and the reasons)."""

    async def metrics(_request: Request) -> Response:
        return Response(await exposition(), headers={"content-type": media_type})

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        problems = readiness.problems()
        body = {"status": "not ready" if problems else "ready", "problems": {**problems}}
        return JSONResponse(body, STATUS_UNHEALTHY if problems else STATUS_OK)

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)],
    )


@asynccontextmanager
async def listening(address: str, app: ASGIApp) -> AsyncIterator[None]:
    """Serve `app` at `address` while the block runs; SettingsError when something else listens there."""
    host, port = split_address(address)
    with open_listener(host, port, "`[metrics] address`") as listener:
        server = _Beside(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        _log.info("monitoring_started", address="{}:{}".format(*listener.getsockname()[:2]))
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await task


class _Beside(uvicorn.Server):
    """A second server in the loop: signals belong to the first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield
