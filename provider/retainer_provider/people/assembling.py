"""Putting the API for people together, on the parts that agents are served by."""

from starlette.types import Scope

from retainer.chain.base import Chain
from retainer_provider.blueprint import Blueprint
from retainer_provider.books.ledger import Ledger
from retainer_provider.people.access import Access
from retainer_provider.people.api import Parts, PeopleApi
from retainer_provider.people.asking import Asker
from retainer_provider.people.border import Border
from retainer_provider.people.events import Events
from retainer_provider.people.free import FreeTier
from retainer_provider.people.funding import Funding
from retainer_provider.people.invoices import InvoiceDesk
from retainer_provider.people.means import Means
from retainer_provider.people.panel import Panel
from retainer_provider.people.questions import Questions
from retainer_provider.people.recovery import Recovery
from retainer_provider.people.storefront import Storefront
from retainer_provider.people.streams import EventStreams
from retainer_provider.people.watching import InvoiceWatch
from retainer_provider.sessions.engine import Engine
from retainer_provider.sessions.holding import Holding
from retainer_provider.wire.challenger import Challenger
from retainer_provider.wire.routing import Target, Unpriced
from retainer_provider.wire.upstream import Upstream


def people_of(
    blueprint: Blueprint,
    chain: Chain,
    ledger: Ledger,
    *,
    engine: Engine,
    challenger: Challenger,
    holding: Holding,
    upstream: Upstream,
) -> tuple[PeopleApi, InvoiceWatch, EventStreams]:
    """The API, what finds deposits whose tab was closed, and the event streams that are open."""
    settings, keys, offers, clock = blueprint.settings, blueprint.keys, blueprint.offers, blueprint.around.clock
    identity, limits, panel = blueprint.identity, settings.limits, settings.panel
    prefix, public = settings.service.api_prefix, panel.public_url
    free_routes = settings.free_tier.routes if settings.free_tier.asks_per_day else ()

    def find_path(path: str) -> Target:
        return blueprint.find(
            {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": []}
        )

    desk = InvoiceDesk(
        identity=identity,
        offers=offers,
        challenger=challenger,
        holding=holding,
        chain=chain,
        ledger=ledger,
        clock=clock,
    )
    asker, streams = (
        Asker(engine=engine, find=blueprint.find, upstream=upstream),
        EventStreams(limits.concurrent_requests // 2),
    )
    parts = Parts(
        access=Access(ledger),
        asker=asker,
        border=Border(limit=limits.request_body_bytes, seconds=limits.request_body_seconds),
        clock=clock,
        engine=engine,
        events=Events(
            ledger=ledger,
            engine=engine,
            clock=clock,
            decimals={offer.id: offer.decimals for offer in offers.values()},
        ),
        free=FreeTier(settings=settings.free_tier, asker=asker, ledger=ledger, clock=clock, key=keys.secrets[0]),
        funding=Funding(
            desk=desk,
            means=Means(chain),
            identity=identity,
            offers=offers,
            ledger=ledger,
            clock=clock,
            public_api=None if public is None else public + prefix,
        ),
        offers=offers,
        recovery=Recovery(realm=identity.realm, secrets=keys.secrets, ledger=ledger, engine=engine, clock=clock),
        storefront=Storefront(
            identity=identity,
            offers=offers,
            panel=panel,
            free_tier=settings.free_tier,
            responders=settings.responders,
            questions=Questions(panel.ask, offers, free_routes, find_path),
            chain=chain,
        ),
        streams=streams,
        keys=tuple(keys.secrets),
        prefix=prefix,
        secure=public is not None,
        panel=None if panel.path is None else Panel(panel, api=prefix),
    )

    def sells(scope: Scope) -> bool:
        return blueprint.find(scope) is not Unpriced.UNKNOWN

    watch = InvoiceWatch(desk=desk, chain=chain, ledger=ledger, clock=clock, timer=blueprint.around.pace)
    return PeopleApi(parts, sells), watch, streams
