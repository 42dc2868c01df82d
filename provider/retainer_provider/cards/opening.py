"""Putting the parts of cards together: who answers, who hosts, and the API."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from retainer_provider.blueprint import Blueprint
from retainer_provider.books.ledger import Ledger
from retainer_provider.cards.access import CardAccess
from retainer_provider.cards.desk import CardDesk
from retainer_provider.cards.dispatcher import Dispatcher
from retainer_provider.cards.executors import HttpExecutor
from retainer_provider.cards.messages import request_body
from retainer_provider.cards.records import Card, Line, Seat, TurnKind
from retainer_provider.cards.routes import CardsApi
from retainer_provider.cards.runner import Runner, Staffed
from retainer_provider.people.streams import EventStreams
from retainer_provider.rates import Throttle
from retainer_provider.responder_settings import ResponderSettings
from retainer_provider.sessions.engine import Engine
from retainer_provider.settings import SettingsError
from retainer_provider.wire.proxy import ReverseProxy
from retainer_provider.wire.routing import Priced
from retainer_provider.wire.upstream import Upstream

_OWNER_BYTES: Final = 8


@asynccontextmanager
async def open_cards(
    blueprint: Blueprint,
    ledger: Ledger,
    engine: Engine,
    *,
    upstream: Upstream,
    access: CardAccess,
    streams: EventStreams,
) -> AsyncIterator[CardsApi | None]:
    """Host the settings' responders and serve their cards while the block runs; None where there are none."""
    settings, clock = blueprint.settings, blueprint.around.clock
    if not settings.responders:
        yield None
        return
    async with AsyncExitStack() as stack:
        staff = {
            name: await _staffed(blueprint, name, chosen, upstream, stack)
            for name, chosen in settings.responders.items()
        }
        seat = Seat(
            f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(_OWNER_BYTES)}",
            settings.service.node,
            settings.ledger.lease_seconds,
        )
        runner = Runner(ledger=ledger, engine=engine, clock=clock, staff=staff)
        dispatcher = Dispatcher(ledger=ledger, runner=runner, clock=clock, staff=staff, seat=seat)
        bell = await stack.enter_async_context(ledger.listening())
        await stack.enter_async_context(dispatcher.running(settings.limits.shutdown_seconds))
        # Any offer's challenge will do for someone who has no session yet.
        target = Priced(next(iter(blueprint.offers.values())))
        yield CardsApi(
            desk=CardDesk(
                ledger=ledger,
                clock=clock,
                offers={name: one.priced.offer.id for name, one in staff.items()},
                limits=settings.cards,
            ),
            prices={name: one.priced for name, one in staff.items()},
            ledger=ledger,
            bell=bell,
            prefix=settings.service.api_prefix,
            access=access,
            writes=Throttle(clock, settings.limits.payer_requests_per_second),
            streams=streams,
            refusal=lambda refusal, caller: engine.refusal(refusal, target, caller),
            body_seconds=settings.limits.request_body_seconds,
        )


async def _staffed(
    blueprint: Blueprint, name: str, chosen: ResponderSettings, upstream: Upstream, stack: AsyncExitStack
) -> Staffed:
    priced = blueprint.find(
        {"type": "http", "method": "POST", "path": chosen.path, "raw_path": chosen.path.encode(), "headers": []}
    )
    if not isinstance(priced, Priced) or priced.offer.id != chosen.offer:
        raise SettingsError(
            f"[responders.{name}]: {chosen.path} prices a turn, and [offers.{chosen.offer}] does not price it: "
            "name the path in its `routes`"
        )
    limits = blueprint.settings.limits
    if chosen.base is not None:
        proxy = ReverseProxy(chosen.base, timeout=limits.upstream_seconds)
        stack.push_async_callback(proxy.aclose)
        upstream = Upstream(
            proxy, clock=blueprint.around.clock, limit=limits.response_body_bytes, timeout=limits.upstream_seconds
        )
        stack.push_async_callback(upstream.aclose)

    def compose(card: Card, kind: TurnKind, line: int, lines: Sequence[Line], resume: str | None) -> str:
        return request_body(card, kind, line, lines, resume, model=chosen.model, stream=kind is TurnKind.ANSWER)

    return Staffed(
        home=chosen.node,
        priced=priced,
        target=chosen.path,
        compose=compose,
        make=partial(
            HttpExecutor, upstream, chosen.path, priced.offer.id, priced.tariff, pause=limits.upstream_seconds
        ),
    )
