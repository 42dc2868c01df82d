"""What routes may cost, in units, as far as their services have said: in memory, as a guess that spares a 402."""

from collections import OrderedDict
from typing import Final

import httpx

from retainer.flows.offers import Offer, origin_of

# Paths are named by callers, and a program that asks for ever new ones must not fill its memory.
_MOST_ROUTES: Final = 10_000


class KnownPrices:
    """By method, host and path: two queries of one path cost the same."""

    def __init__(self) -> None:
        self._units: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def units(self, request: httpx.Request) -> int:
        """The most that a request may cost; one unit where nothing was said."""
        return self._units.get(_route(request), 1)

    def learn(self, request: httpx.Request, offers: list[Offer]) -> None:
        """Take over what the offers of a 402 say; the service refuses whoever expects less."""
        if offers:
            route = _route(request)
            self._units[route] = max(offer.max_units for offer in offers)
            self._units.move_to_end(route)
            if len(self._units) > _MOST_ROUTES:
                self._units.popitem(last=False)


def _route(request: httpx.Request) -> tuple[str, str, str]:
    return request.method, origin_of(request.url), request.url.path
