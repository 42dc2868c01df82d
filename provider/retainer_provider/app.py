"""The composition root's front door: settings in, an ASGI app out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from retainer_provider.assembly import Assembled, assembled
from retainer_provider.blueprint import Blueprint, Surroundings
from retainer_provider.catalog import load_offers
from retainer_provider.keys import load_keys, require_refund_key
from retainer_provider.lifespan import serve_lifespan
from retainer_provider.logs import redact_by_default
from retainer_provider.settings import Settings, SettingsError
from retainer_provider.wire.routing import Finder, RouteTable

_log = structlog.get_logger(__name__)


def create_app(
    settings: Settings,
    *,
    upstream: ASGIApp | None = None,
    find: Finder | None = None,
    surroundings: Surroundings | None = None,
) -> "RetainerApp":
    """The service as an ASGI app: before `upstream`, an app in this process, or else before the settings' URL.

    `find` says what a request costs, where that is not the offers' `routes` to say. Nothing is opened before the server
    starts it. SettingsError where settings or keys cannot be served.
    """
    offers = load_offers(settings.offers)
    if find is None:
        for offer in offers.values():
            if not offer.routes:
                raise SettingsError(f'[offers.{offer.id}]: `routes` names the paths that it prices, such as ["/v1/*"]')
    if upstream is None and settings.service.upstream is None:
        raise SettingsError("there is nothing to meter: set `upstream` to the URL of the service, or pass an ASGI app")
    keys = load_keys(settings.service)
    require_refund_key(keys, offers.values())
    return RetainerApp(
        Blueprint(
            settings=settings,
            keys=keys,
            offers=offers,
            find=find or RouteTable(offers, settings.routes.free).of,
            upstream=upstream,
            around=surroundings or Surroundings(),
        )
    )


class RetainerApp:
    """An ASGI app whose lifespan opens and closes everything; `running` does the same without a server."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._parts: Assembled | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the API's few paths, and the gate for everything else."""
        if scope["type"] == "lifespan":
            await serve_lifespan(self.running, receive, send)
            return
        if self._parts is None:
            raise RuntimeError("the service is not running: serve it with lifespan events, or inside `running()`")
        await self._parts.adapter(scope)(scope, receive, send)

    def stop(self) -> None:
        """Say from now on that the service is not ready, as it is about to end. It serves until `running` is left."""
        if self._parts is not None:
            self._parts.readiness.stop()
            self._parts.streams.stop()  # they would else keep the server from ending

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve for as long as the block runs."""
        redact_by_default()
        identity = self._blueprint.identity
        async with assembled(self._blueprint) as parts:
            self._parts = parts
            _log.info("service_started", operator=str(identity.operator), network=str(identity.network))
            try:
                yield
            finally:
                self._parts = None
        _log.info("service_stopped")
