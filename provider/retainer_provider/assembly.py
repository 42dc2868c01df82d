"""Putting the parts of a service together and taking them apart again, in the one order that loses nothing."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp, Scope

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ChainUnavailableError
from retainer.chain.several import connect
from retainer_provider.background import exposure_of, settler_of, watcher_of, workers_of
from retainer_provider.blueprint import Blueprint
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import Custody
from retainer_provider.books.stores.chosen import open_ledger
from retainer_provider.cards.access import CardAccess
from retainer_provider.cards.opening import open_cards
from retainer_provider.cards.routes import CardsApi
from retainer_provider.identity import Identity
from retainer_provider.keys import Keys
from retainer_provider.lifespan import run_lifespan
from retainer_provider.monitoring.observer import UNOBSERVED, Observer
from retainer_provider.monitoring.readiness import Readiness
from retainer_provider.people.access import Access
from retainer_provider.people.api import PeopleApi
from retainer_provider.people.assembling import people_of
from retainer_provider.people.streams import EventStreams
from retainer_provider.rates import Slots, Throttle
from retainer_provider.sessions.claims import Claims
from retainer_provider.sessions.closing import Closer
from retainer_provider.sessions.custodial import CustodialDeposits
from retainer_provider.sessions.engine import Engine
from retainer_provider.sessions.fairness import Fairness
from retainer_provider.sessions.holding import ByChallenge
from retainer_provider.sessions.landing import Landing
from retainer_provider.sessions.metering import Metering
from retainer_provider.sessions.opening import Opener
from retainer_provider.sessions.streaming import StreamLimits
from retainer_provider.sessions.topping_up import Topper
from retainer_provider.settings import SettingsError
from retainer_provider.settling.first_look import FirstLook
from retainer_provider.settling.watcher import ChainView
from retainer_provider.wire.challenger import Challenger
from retainer_provider.wire.door import Door
from retainer_provider.wire.gate import RetainerGate
from retainer_provider.wire.openapi import DISCOVERY_PATH
from retainer_provider.wire.proxy import ReverseProxy
from retainer_provider.wire.routes import Api
from retainer_provider.wire.routing import Unpriced
from retainer_provider.wire.upstream import Upstream

_DISCOVERY = {"type": "http", "method": "GET", "path": DISCOVERY_PATH}


@dataclass(frozen=True)
class Assembled:
    """The adapters of a running service, and whether it sells."""

    api: Api
    cards: CardsApi | None
    cards_door: ASGIApp | None
    people: PeopleApi
    people_door: ASGIApp
    streams: EventStreams
    gate: ASGIApp
    readiness: Readiness

    def adapter(self, scope: Scope) -> ASGIApp:
        """What answers a request: one of the APIs on its few paths, and the gate on all others."""
        if scope["type"] == "http":
            if self.people.owns(scope):
                return self.people_door
            if self.api.owns(scope):
                return self.api
            if self.cards is not None and self.cards_door is not None and self.cards.owns(scope):
                return self.cards_door
        return self.gate


@asynccontextmanager
async def assembled(blueprint: Blueprint) -> AsyncIterator[Assembled]:
    """Run the service; at the end let running requests finish, then stop the workers, then close what they used."""
    settings, around, identity = blueprint.settings, blueprint.around, blueprint.identity
    limits = settings.limits
    async with AsyncExitStack() as stack:
        chain = around.chain
        if chain is None:
            chain = connect(settings.service.rpc_urls, quorum=settings.service.rpc_quorum)
            stack.push_async_callback(chain.aclose)
        ledger = around.ledger
        if ledger is None:
            ledger = await open_ledger(settings)
            stack.push_async_callback(ledger.aclose)
        await _require_own_sessions(ledger, identity, blueprint.keys)
        view = ChainView()
        readiness = Readiness(
            ledger=ledger,
            view=view,
            clock=around.clock,
            shortest=min(offer.grace_period for offer in blueprint.offers.values()),
        )
        # Before all that serves, so that it tells what goes on until the last request is done.
        observer = await _observer(blueprint, ledger, view, readiness, stack)
        target = await _open_upstream(blueprint, stack)
        upstream = Upstream(
            target, clock=around.clock, limit=limits.response_body_bytes, timeout=limits.upstream_seconds
        )
        stack.push_async_callback(upstream.aclose)
        settler = settler_of(blueprint, chain, ledger, observer)
        closer = Closer(ledger=ledger, settle=settler.settle, clock=around.clock, wait=limits.close_wait_seconds)
        stack.push_async_callback(closer.aclose)
        watcher = watcher_of(blueprint, chain, ledger, view)
        with contextlib.suppress(ChainUnavailableError):
            await watcher.look(first_page=True)  # so that the first clients need not wait for it
        await stack.enter_async_context(workers_of(blueprint, chain, ledger, watcher, settler).running())
        metering = Metering(
            ledger=ledger,
            operator=blueprint.keys.operator,
            clock=around.clock,
            wait=limits.in_flight_wait_seconds,
            streams=StreamLimits(limits.upstream_seconds, limits.stream_seconds, limits.response_body_bytes),
            observer=observer,
        )
        stack.push_async_callback(metering.aclose, limits.shutdown_seconds)
        challenger = _challenger(blueprint, chain)
        holding = _holding(blueprint, chain, ledger, challenger)
        engine = Engine(
            challenger=challenger,
            holding=holding,
            metering=metering,
            closer=closer,
            ledger=ledger,
            watch=FirstLook(watcher, view, around.clock),
            operator=blueprint.keys.operator,
            clock=around.clock,
            fairness=_fairness(blueprint),
        )
        stack.push_async_callback(engine.aclose)
        people, watch, streams = people_of(
            blueprint, chain, ledger, engine=engine, challenger=challenger, holding=holding, upstream=upstream
        )
        await stack.enter_async_context(watch.running())
        access = CardAccess(engine, Access(ledger))
        cards = await stack.enter_async_context(
            open_cards(blueprint, ledger, engine, upstream=upstream, access=access, streams=streams)
        )
        gate = RetainerGate(
            target,
            engine,
            blueprint.find,
            upstream=upstream,
            request_limit=limits.request_body_bytes,
            request_seconds=limits.request_body_seconds,
            clock=around.clock,
            observer=observer,
        )
        door = partial(Door, head_limit=limits.request_head_bytes, most=limits.concurrent_requests)
        yield Assembled(
            cards=cards,
            cards_door=None if cards is None else door(cards),
            api=Api(
                engine=engine,
                identity=identity,
                offers=blueprint.offers,
                prefix=settings.service.api_prefix,
                health=readiness.problems,
                # An upstream that is priced or free at this path describes itself.
                discovery=blueprint.find(_DISCOVERY) is Unpriced.UNKNOWN,
                responders=tuple(settings.responders),
            ),
            # The API is outside: it asks nobody else, and tells how the service is also when that is busy.
            gate=door(gate),
            readiness=readiness,
            people=people,
            people_door=door(people),
            streams=streams,
        )


async def _observer(
    blueprint: Blueprint, ledger: Ledger, view: ChainView, readiness: Readiness, stack: AsyncExitStack
) -> Observer:
    address = blueprint.settings.metrics.address
    if address is None:
        return UNOBSERVED
    # Only where it is asked for: it brings a client library and a second server.
    from retainer_provider.monitoring.listener import listening, monitoring_app  # noqa: PLC0415
    from retainer_provider.monitoring.metrics import MEDIA_TYPE, Metrics  # noqa: PLC0415

    alarm_before = blueprint.settings.settlement.alarm_before_seconds
    metrics = Metrics(ledger=ledger, view=view, clock=blueprint.around.clock, alarm_before=alarm_before)
    await stack.enter_async_context(listening(address, monitoring_app(readiness, metrics.exposition, MEDIA_TYPE)))
    return metrics


async def _open_upstream(blueprint: Blueprint, stack: AsyncExitStack) -> ASGIApp:
    if blueprint.upstream is not None:
        await stack.enter_async_context(run_lifespan(blueprint.upstream))
        return blueprint.upstream
    settings = blueprint.settings
    proxy = ReverseProxy(settings.service.upstream or "", timeout=settings.limits.upstream_seconds)
    stack.push_async_callback(proxy.aclose)
    return proxy


async def _require_own_sessions(ledger: Ledger, identity: Identity, keys: Keys) -> None:
    """Sessions of another operator could neither be receipted nor settled: nothing is sold on such books (F26).

    Nor where what is held for custodial sessions could not be sent back.
    """
    holder = None if keys.refund is None else keys.refund.pubkey()
    for found in await ledger.parties():
        if found.operator != identity.operator:
            raise SettingsError(
                f"session {found.session_id} in the ledger belongs to operator {found.operator}, "
                f"but the keypair is {identity.operator}: start with the keypair or the ledger that fits"
            )
        if found.custody is Custody.PROVIDER and found.payee != holder:
            raise SettingsError(
                f"session {found.session_id} in the ledger is custodial, its money with {found.payee}: "
                "set `refund_keypair` to that keypair until it is closed"
            )


def _challenger(blueprint: Blueprint, chain: Chain) -> Challenger:
    return Challenger(
        identity=blueprint.identity,
        keys=blueprint.keys.secrets,
        chain=chain,
        clock=blueprint.around.clock,
        ttl=blueprint.settings.service.challenge_ttl,
    )


def _fairness(blueprint: Blueprint) -> Fairness:
    limits, clock = blueprint.settings.limits, blueprint.around.clock
    return Fairness(
        payers=Throttle(clock, limits.payer_requests_per_second),
        running=Slots(limits.payer_concurrent_requests),
        strangers=Throttle(clock, limits.unpaid_requests_per_second),
    )


def _holding(blueprint: Blueprint, chain: Chain, ledger: Ledger, challenger: Challenger) -> ByChallenge:
    settings, clock = blueprint.settings, blueprint.around.clock

    def landing(commitment: Commitment) -> Landing:
        wait = settings.limits.deposit_wait_seconds
        return Landing(chain=chain, commitment=commitment, timer=blueprint.around.timer, wait=wait)

    claims = Claims(
        identity=blueprint.identity, offers=blueprint.offers, challenger=challenger, ledger=ledger, clock=clock
    )
    opener = Opener(
        claims=claims,
        identity=blueprint.identity,
        chain=chain,
        ledger=ledger,
        clock=clock,
        landing=landing(blueprint.identity.commitment),
        sponsor=blueprint.keys.sponsor,
        exposure=exposure_of(blueprint, chain),
    )
    topper = Topper(
        identity=blueprint.identity,
        offers=blueprint.offers,
        challenger=challenger,
        chain=chain,
        ledger=ledger,
        clock=clock,
        landing=landing(blueprint.identity.commitment),
        sponsor=blueprint.keys.sponsor,
        exposure=exposure_of(blueprint, chain),
    )
    custodial = CustodialDeposits(
        claims=claims,
        identity=blueprint.identity,
        offers=blueprint.offers,
        challenger=challenger,
        chain=chain,
        ledger=ledger,
        clock=clock,
        landing=landing(Commitment.FINALIZED),
    )
    return ByChallenge(challenger, opener, topper, custodial)
