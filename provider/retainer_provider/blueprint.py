"""A service before it runs: settings, keys and offers, checked; and what it stands on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from retainer.chain.base import Chain, Commitment
from retainer.chain.confirm import SystemTimer, Timer
from retainer_provider.books.ledger import Ledger
from retainer_provider.clock import Clock, SystemClock
from retainer_provider.identity import Identity
from retainer_provider.keys import Keys
from retainer_provider.offers import Offer
from retainer_provider.settings import Settings
from retainer_provider.wire.routing import Finder


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a service stands on; a chain or ledger of None is made from the settings. The workers wait by `pace`."""

    chain: Chain | None = None
    ledger: Ledger | None = None
    clock: Clock = field(default_factory=SystemClock)
    timer: Timer = field(default_factory=SystemTimer)
    pace: Timer = field(default_factory=SystemTimer)


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A service before it runs: everything checked, nothing opened."""

    settings: Settings
    keys: Keys
    offers: Mapping[str, Offer]
    find: Finder
    upstream: ASGIApp | None
    around: Surroundings

    @property
    def identity(self) -> Identity:
        """Who the service is, by its settings and keys."""
        return service_identity(self.settings, self.keys)


def service_identity(settings: Settings, keys: Keys) -> Identity:
    """Who a service is on chain and on the wire."""
    service, operator = settings.service, keys.operator.pubkey()
    return Identity(
        realm=service.realm,
        network=service.network,
        program_id=service.program_id,
        operator=operator,
        payee=service.payee or operator,
        commitment=Commitment(service.commitment),
        sponsor=None if keys.sponsor is None else keys.sponsor.pubkey(),
        sponsor_fee=service.sponsor_fee,
    )
