"""FastAPI: `Depends(RequireSession("offer"))` prices a route, and `meter` puts the gate before the app.

    app = FastAPI()

    @app.get("/answer")
    async def answer(paid: Annotated[PaidRequest, Depends(RequireSession("standard"))]) -> dict[str, str]: ...

    service = meter(app, load_settings(Path("retainer.toml")))     # uvicorn module:service

Money is decided before the app runs: a handler never sees a request that is not paid for. Routes without the dependency
cost nothing. The app's own router says which route a request belongs to, so that gate and app cannot differ about it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Scope

from retainer_provider.app import RetainerApp, create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.catalog import load_offers, require_sellable
from retainer_provider.offer_settings import PricedRoute
from retainer_provider.offers import Offer
from retainer_provider.remembered import Remembered
from retainer_provider.settings import Settings, SettingsError
from retainer_provider.tariffs import Tariff
from retainer_provider.wire.openapi import PAYMENT_REQUIRED, payment_info
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest
from retainer_provider.wire.routing import Finder, Priced, Target, Unpriced

__all__ = ["PaidRequest", "RequireSession", "meter"]

_SHORT: Final = 256


class RequireSession:
    """A dependency: the route costs ``units`` of the offer of this name. Gives the handler a `PaidRequest`.

    With ``max_units`` it costs what the handler charges (`PaidRequest.charge`), so much at most; ``units`` where it
    charges nothing. With ``stream`` its event streams go out as they flow.
    """

    def __init__(self, offer: str, *, units: int = 1, max_units: int | None = None, stream: bool = False) -> None:
        self.offer = offer
        self.units = units
        self.max_units = max_units
        self.stream = stream

    @property
    def tariff(self) -> Tariff:
        """The same as a route of the settings file has it. SettingsError where that would be refused there."""
        try:
            return PricedRoute(path="/", units=self.units, max_units=self.max_units, stream=self.stream).tariff
        except ValueError as error:
            raise SettingsError(f"RequireSession({self.offer!r}): {error}") from None

    async def __call__(self, request: Request) -> PaidRequest:  # a plain function would run in a thread of a pool
        """What the gate let through; RuntimeError where there is no gate, so that nothing is served unpaid."""
        paid = request.scope.get(SCOPE_KEY)
        if not isinstance(paid, PaidRequest) or paid.offer_id != self.offer:
            raise RuntimeError("this route is sold and nobody has charged for it: serve meter(app, ...), not the app")
        return paid


def meter(app: FastAPI, settings: Settings, *, surroundings: Surroundings | None = None) -> RetainerApp:
    """The service to serve in the app's stead. SettingsError where a route names an offer that the settings have not.

    Tell the app all its routes first. Its OpenAPI document has their prices from here on, as the draft for payment
    discovery says.
    """
    offers = load_offers(settings.offers)
    prices = [(route, _price(route, offers)) for route in _routes(app.routes)]
    _describe(app, prices)
    return create_app(settings, upstream=app, find=_finder(prices), surroundings=surroundings)


Prices = Sequence[tuple[RouteContext, Target]]


def _routes(routes: Sequence[BaseRoute]) -> Iterator[RouteContext]:
    for route in iter_route_contexts(routes):
        if isinstance(route.original_route, Mount):
            for inner in _routes(route.original_route.routes):
                if any(_required(inner)):
                    raise SettingsError(
                        f"route {inner.path} of the app mounted at {route.path} is sold: include a router instead of "
                        "mounting an app, or give the mounted app a gate of its own"
                    )
        yield route


def _price(route: RouteContext, offers: Mapping[str, Offer]) -> Target:
    prices = {(required.offer, required.tariff) for required in _required(route)}
    if len(prices) > 1:
        names = sorted({name for name, _ in prices})
        raise SettingsError(f"route {route.path} requires sessions of {names}: give it one price")
    for name, tariff in prices:
        if name not in offers:
            raise SettingsError(f"route {route.path} requires a session of {name!r}: there is no [offers.{name}]")
        require_sellable(offers[name], str(route.path), tariff)
        return Priced(offers[name], tariff)
    return Unpriced.FREE


def _finder(prices: Prices) -> Finder:
    """What a request costs; remembered where all routes go by method and path alone."""
    if not all(isinstance(route.original_route, Route) for route, _ in prices):
        return lambda scope: _target(prices, scope)
    known: Remembered[tuple[str, str, str], Target] = Remembered()

    def find(scope: Scope) -> Target:
        asked = (scope["method"], scope["path"], scope.get("root_path", ""))
        target = known.get(asked)
        if target is None:
            target = _target(prices, scope)
            # Paths of any length would let strangers fill the memory.
            if len(asked[1]) <= _SHORT:
                known.keep(asked, target)
        return target

    return find


def _target(prices: Prices, scope: Scope) -> Target:
    """The price of the first route that takes the request, as in the app's own router."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    for route, price in prices:
        if _dependant(route) is None:
            if route.original_route.matches(scope)[0] is Match.FULL:
                return price
        elif route.path_regex.match(path) and scope["method"] in (route.methods or ()):
            return price
    return Unpriced.FREE  # the app's own 404 or 405


def _dependant(route: RouteContext) -> Dependant | None:
    found = getattr(route, "dependant", None)  # only FastAPI's own routes have one
    return found if isinstance(found, Dependant) else None


def _required(route: RouteContext) -> Iterator[RequireSession]:
    waiting = [_dependant(route)]
    while waiting:
        dependant = waiting.pop()
        if dependant is not None:
            waiting += dependant.dependencies
            if isinstance(dependant.call, RequireSession):
                yield dependant.call


def _describe(app: FastAPI, prices: Prices) -> None:
    """Let the app's document tell what costs how much; FastAPI has `openapi` replaced for such things."""
    written = app.openapi

    def described() -> dict[str, Any]:
        document = written()
        for route, price in prices:
            for method in (route.methods or ()) if isinstance(price, Priced) else ():
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None and isinstance(price, Priced):
                    operation["x-payment-info"] = payment_info(price)
                    operation.setdefault("responses", {})["402"] = PAYMENT_REQUIRED
        return document

    app.openapi = described  # type: ignore[method-assign]
