"""Making what goes on beside the requests: watcher, sweeper, settler."""

from collections.abc import AsyncIterator, Callable
from functools import partial

from retainer.chain.base import Chain
from retainer.chain.notices import Notice, program_notices
from retainer.protocol.layouts import SESSION_OPERATOR_OFFSET
from retainer_provider.blueprint import Blueprint
from retainer_provider.books.ledger import Ledger
from retainer_provider.clock import Clock
from retainer_provider.exposure import Exposure
from retainer_provider.keys import Keys
from retainer_provider.monitoring.observer import Observer
from retainer_provider.policy import settler_options
from retainer_provider.sessions.cut_streams import CutStreams
from retainer_provider.settling.archive import Archive
from retainer_provider.settling.closing_transaction import CloseBuilder, CostPolicy
from retainer_provider.settling.interim import InterimSettler
from retainer_provider.settling.payout import Payout
from retainer_provider.settling.reclaim import Reclaimer
from retainer_provider.settling.refunds import Refunder
from retainer_provider.settling.settler import Settler, Step
from retainer_provider.settling.watcher import ChainView, Watcher
from retainer_provider.settling.workers import Sweeper, WorkerOptions, Workers


def settler_of(blueprint: Blueprint, chain: Chain, ledger: Ledger, observer: Observer) -> Settler:
    """What settles and refunds."""
    options = settler_options(blueprint.settings, blueprint.identity)
    return Settler(
        chain=chain,
        ledger=ledger,
        operator=blueprint.keys.operator,
        clock=blueprint.around.clock,
        timer=blueprint.around.timer,
        options=options,
        observer=observer,
        refund=refund_step(blueprint.keys, chain, ledger, blueprint.around.clock, options.costs),
    )


def refund_step(keys: Keys, chain: Chain, ledger: Ledger, clock: Clock, costs: CostPolicy) -> Step | None:
    """What ends custodial sessions; None without the key that holds their money."""
    if keys.refund is None:
        return None
    refunder = Refunder(
        chain=chain, ledger=ledger, operator=keys.operator, holder=keys.refund, clock=clock, costs=costs
    )
    return refunder.step


def watcher_of(blueprint: Blueprint, chain: Chain, ledger: Ledger, view: ChainView) -> Watcher:
    """What reads the accounts of open sessions into `view`."""
    return Watcher(
        chain=chain,
        ledger=ledger,
        clock=blueprint.around.clock,
        view=view,
        exposure=exposure_of(blueprint, chain),
        program_id=blueprint.identity.program_id,
    )


def exposure_of(blueprint: Blueprint, chain: Chain) -> Exposure:
    """What says from which level on a deposit counts."""
    us, caps = blueprint.identity, {offer.id: offer.credit_before_finality for offer in blueprint.offers.values()}
    return Exposure(chain=chain, commitment=us.commitment, caps=caps, program_id=us.program_id)


def workers_of(blueprint: Blueprint, chain: Chain, ledger: Ledger, watcher: Watcher, settler: Settler) -> Workers:
    """What runs watcher, sweeper and settler."""
    around, options = blueprint.around, WorkerOptions(program_id=blueprint.identity.program_id)
    reclaimer = Reclaimer(
        chain=chain, ledger=ledger, operator=blueprint.keys.operator, program_id=blueprint.identity.program_id
    )
    sweeper = Sweeper(
        chain=chain,
        ledger=ledger,
        clock=around.clock,
        reclaimer=reclaimer,
        options=options,
        archive=_archive(blueprint, ledger),
    )
    return Workers(
        watcher=watcher,
        sweeper=sweeper,
        settler=settler,
        ledger=ledger,
        timer=around.pace,
        options=options,
        interim=_interim(blueprint, chain, ledger),
        cut_streams=CutStreams(ledger=ledger, operator=blueprint.keys.operator, clock=around.clock),
        notices=_notices(blueprint),
    )


def _notices(blueprint: Blueprint) -> Callable[[], AsyncIterator[Notice | None]] | None:
    us, url = blueprint.identity, blueprint.settings.service.ws_url
    if url is None:
        return None
    return partial(program_notices, url, program=us.program_id, offset=SESSION_OPERATOR_OFFSET, key=us.operator)


def _archive(blueprint: Blueprint, ledger: Ledger) -> Archive | None:
    chosen = blueprint.settings.ledger
    if chosen.archive is None or chosen.keep_usage_days is None:
        return None
    return Archive(ledger=ledger, folder=chosen.archive, days=chosen.keep_usage_days)


def _interim(blueprint: Blueprint, chain: Chain, ledger: Ledger) -> InterimSettler | None:
    limits = {offer.id: offer.settle_above for offer in blueprint.offers.values() if offer.settle_above is not None}
    if not limits:
        return None
    us = blueprint.identity
    costs = settler_options(blueprint.settings, us).costs
    payout = Payout(
        chain=chain,
        builder=CloseBuilder(chain, blueprint.keys.operator, us.program_id, costs),
        timer=blueprint.around.timer,
    )
    return InterimSettler(chain=chain, ledger=ledger, payout=payout, limits=limits, program_id=us.program_id)
