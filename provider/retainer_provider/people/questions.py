"""How a person's question becomes a request: by which method, to which path, in which place of it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from retainer.protocol.encoding import Json
from retainer_provider.offers import Offer
from retainer_provider.people.invoices import funds_people
from retainer_provider.people_settings import AskSettings
from retainer_provider.settings import SettingsError
from retainer_provider.wire.routing import Priced, Target, Unpriced

FindPath = Callable[[str], Target]
"""What a path costs, without its query."""

_WRONG: Final[Mapping[Unpriced, str]] = {
    Unpriced.UNKNOWN: "nothing is sold there: name a path of an offer's `routes`",
    Unpriced.FREE: "it is free for everyone, and the page asks what is sold: name a priced path, or list it in "
    "[free_tier] to give some requests away",
    Unpriced.AMBIGUOUS: "it can be read in more than one way: leave out dot segments and needless escapes",
}


class Questions:
    """``settings`` None: each offer is asked at its first path, with the question as a member of a JSON body."""

    def __init__(
        self,
        settings: AskSettings | None,
        offers: Mapping[str, Offer],
        free: Sequence[str],
        find: FindPath,
    ) -> None:
        self._settings = settings
        self._free = free
        self._find = find
        if settings is not None:
            self._require_sold(settings, offers)

    def of(self, offer: Offer) -> dict[str, Json]:
        """The request that a page makes of a question, for whoever has a session of this offer."""
        settings = self._settings
        if settings is None or self._offer_at(settings.bare_path) is not offer:
            settings = AskSettings(path=self._first_path(offer))
        target = self._find(settings.bare_path)
        return {
            "method": settings.method,
            "path": settings.path,
            "body": settings.body if settings.method == "POST" else None,
            "answer": settings.answer,
            "streams": isinstance(target, Priced) and target.tariff.stream,
        }

    def _offer_at(self, path: str) -> Offer | None:
        target = self._find(path)
        return target.offer if isinstance(target, Priced) else None

    def _first_path(self, offer: Offer) -> str:
        """Of what is given away, so that it is used; else of what is sold. Whole paths go before patterns."""
        given = [route for route in self._free if self._offer_at(_whole(route)) is offer]
        routes = [*given, *offer.routes]
        return _whole(next((route for route in routes if not route.endswith("*")), routes[0] if routes else "/"))

    def _require_sold(self, settings: AskSettings, offers: Mapping[str, Offer]) -> None:
        path = settings.bare_path
        target = self._find(path)
        if isinstance(target, Unpriced):
            raise SettingsError(f"[panel.ask]: `path` is {path!r}, and {_WRONG[target]}")
        if not funds_people(offers[target.offer.id]):
            raise SettingsError(
                f"[panel.ask]: `path` is {path!r}, which offer {target.offer.id!r} sells, and no page can fund that "
                'one: it needs `voucher_signer = "operator"` and an escrow on chain'
            )


def _whole(route: str) -> str:
    return f"{route[:-1]}ask" if route.endswith("*") else route
