"""WSGI (Flask, Django, ...): the gate before an app that knows no event loop, over one bridge.

    app = Flask(__name__)
    service = meter(app, load_settings(Path("retainer.toml")))     # gunicorn --threads 8 module:service

The offers' `routes` say what costs what. One process on a SQLite ledger, any number of threads; several processes need
a ledger on PostgreSQL, and the second one on a SQLite file is refused.
"""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

from a2wsgi import ASGIMiddleware, WSGIMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from retainer.bridge import Bridge
from retainer_provider.app import RetainerApp, create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.settings import Settings
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest

__all__ = ["PaidRequest", "WsgiService", "meter", "paid_request"]

WsgiApp: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]

# Where WSGI servers leave the path as it came; PEP 3333 has only the decoded one.
_RAW_PATHS: Final = ("REQUEST_URI", "RAW_URI")


def meter(
    app: WsgiApp, settings: Settings, *, threads: int = 10, surroundings: Surroundings | None = None
) -> "WsgiService":
    """The service to serve in the app's stead, which then runs in up to `threads` threads. SettingsError as ever."""
    upstream = cast("ASGIApp", WSGIMiddleware(cast("Any", app), workers=threads))
    return WsgiService(create_app(settings, upstream=upstream, surroundings=surroundings))


def paid_request(environ: dict[str, Any]) -> PaidRequest | None:
    """Which session pays for the request that an app is asked to answer; None on a free route."""
    found = environ["asgi.scope"].get(SCOPE_KEY) if "asgi.scope" in environ else None
    return found if isinstance(found, PaidRequest) else None


class WsgiService:
    """A WSGI app. It starts with its first request, in the process that serves it, or when `start` is called."""

    def __init__(self, service: RetainerApp) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._process: int | None = None
        self._bridge: Bridge | None = None
        self._running: AbstractAsyncContextManager[None] | None = None
        self._wsgi: ASGIMiddleware | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        """One request (PEP 3333)."""
        wsgi: Any = self._started()
        answer: Iterable[bytes] = wsgi(environ, start_response)
        return answer

    def start(self) -> None:
        """Open the books now; what is wrong with them is raised here instead of at the first request."""
        self._started()

    def close(self) -> None:
        """Finish running requests and close the books. Where nothing calls this, it ends like a crash: safely."""
        with self._lock:
            bridge, running = self._bridge, self._running
            self._bridge = self._running = self._wsgi = None
        if bridge is not None and running is not None:
            bridge.run(_leave(running))
            bridge.close()

    def _started(self) -> ASGIMiddleware:
        with self._lock:
            # Threads and locks do not survive a fork: a server that loads first and forks then starts in each child.
            if self._wsgi is None or self._process != os.getpid():
                bridge, running = Bridge("retainer-service"), self._service.running()
                try:
                    bridge.run(_enter(running))
                except BaseException:
                    bridge.close()
                    raise
                app: Any = _with_raw_path(self._service)
                self._bridge, self._running, self._process = bridge, running, os.getpid()
                self._wsgi = ASGIMiddleware(app, loop=bridge.loop)
            return self._wsgi


def _with_raw_path(app: ASGIApp) -> ASGIApp:
    """Receipts stand for the path as it was sent (F19)."""

    async def with_raw_path(scope: Scope, receive: Receive, send: Send) -> None:
        environ = scope["wsgi_environ"]
        sent = next((environ[name] for name in _RAW_PATHS if environ.get(name, "").startswith("/")), None)
        raw = quote(scope["path"]) if sent is None else sent.partition("?")[0]
        await app({**scope, "raw_path": raw.encode("latin-1")}, receive, send)

    return with_raw_path


async def _enter(running: AbstractAsyncContextManager[None]) -> None:
    await running.__aenter__()


async def _leave(running: AbstractAsyncContextManager[None]) -> None:
    await running.__aexit__(None, None, None)
