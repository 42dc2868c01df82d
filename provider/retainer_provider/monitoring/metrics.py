"""The service's numbers for Prometheus. No label holds what a client chooses: each has a fixed set of words."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from retainer_provider.books.ledger import Ledger, LedgerError
from retainer_provider.clock import Clock
from retainer_provider.settling.watcher import ChainView

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST

# A tally is a pass over the books: whoever scrapes more often gets the last one.
_TALLY_SECONDS: Final = 10.0
_REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WRITE_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
# All sums by offer and state, except for `urgent`, which is an alarm of its own.
_AMOUNTS: Final = ("deposit", "reserved", "spent", "settled")


class Metrics:
    """An ``Observer`` with a registry of its own, so that two services in one process do not mix."""

    def __init__(self, *, ledger: Ledger, view: ChainView, clock: Clock, alarm_before: int | None = None) -> None:
        self._ledger = ledger
        self._view = view
        self._clock = clock
        self._alarm_before = alarm_before
        self._tallied_at: float | None = None
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "retainer_requests", "Requests answered, by offer and outcome.", ("offer", "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "retainer_request_seconds",
            "From a request's head to its answer, upstream and books included.",
            ("offer",),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._writes = Histogram(
            "retainer_ledger_write_seconds",
            "Until the books have taken a request's reservation, or its charge durably.",
            ("call",),
            buckets=_WRITE_BUCKETS,
            registry=registry,
        )
        self._settlements = Counter(
            "retainer_settlements", "Tries to settle a session, by outcome.", ("outcome",), registry=registry
        )
        self._sessions = Gauge(
            "retainer_sessions", "Sessions in the books, by offer and state.", ("offer", "state"), registry=registry
        )
        self._amounts = Gauge(
            "retainer_base_units",
            "Sums over the sessions in the books, in base units of the offer's token.",
            ("offer", "kind"),
            registry=registry,
        )
        self._alarms = Gauge(
            "retainer_deadline_alarms",
            "Closing sessions that are not settled shortly before their deadline ([settlement] alarm_before_seconds).",
            registry=registry,
        )
        self._frozen = Gauge(
            "retainer_sessions_frozen",
            "Sessions that are served nothing because the chain lacks what they were credited with.",
            registry=registry,
        )
        self._age = Gauge(
            "retainer_chain_view_age_seconds",
            "Since all open sessions were last seen on chain; -1 before the first time.",
            registry=registry,
        )
        self._ledger_up = Gauge("retainer_ledger_up", "1 while the books can be written.", registry=registry)

    def answered(self, offer: str, outcome: str, seconds: float) -> None:
        """See ``Observer``."""
        self._requests.labels(offer, outcome).inc()
        self._seconds.labels(offer).observe(seconds)

    def wrote(self, call: str, seconds: float) -> None:
        """See ``Observer``."""
        self._writes.labels(call).observe(seconds)

    def tried_to_settle(self, outcome: str) -> None:
        """See ``Observer``."""
        self._settlements.labels(outcome).inc()

    async def exposition(self) -> bytes:
        """All of it in the text format of MEDIA_TYPE. Where the books cannot be read, their sums are the last ones."""
        age = self._view.age(self._clock.now())
        self._age.set(-1 if age is None else age)
        self._frozen.set(self._view.frozen_sessions)
        self._ledger_up.set(self._ledger.failure is None)
        now = self._clock.monotonic()
        if self._tallied_at is None or now - self._tallied_at >= _TALLY_SECONDS:
            try:
                await self._tally()
                self._tallied_at = now
            except LedgerError:
                self._ledger_up.set(0)
        return generate_latest(self._registry)

    async def _tally(self) -> None:
        tallies = await self._ledger.tally(self._clock.now(), self._alarm_before)
        # A session that has moved on must not stay where it was counted before.
        self._sessions.clear()
        self._amounts.clear()
        for tally in tallies:
            self._sessions.labels(tally.offer_id, str(tally.state)).set(tally.sessions)
            for kind in _AMOUNTS:
                self._amounts.labels(tally.offer_id, kind).inc(getattr(tally, kind))
        self._alarms.set(sum(tally.urgent for tally in tallies))
