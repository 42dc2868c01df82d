"""Whether the service can sell right now, and if not, why: one sentence by part."""

from collections.abc import Mapping

from retainer_provider.books.ledger import Ledger
from retainer_provider.clock import Clock
from retainer_provider.settling.watcher import ChainView


class Readiness:
    """`shortest` is the shortest grace period on offer, in seconds: with it the chain must have been seen lately."""

    def __init__(self, *, ledger: Ledger, view: ChainView, clock: Clock, shortest: int) -> None:
        self._ledger = ledger
        self._view = view
        self._clock = clock
        self._shortest = shortest
        self._stopping = False

    def stop(self) -> None:
        """From now on the service is about to end: whoever balances loads should ask another."""
        self._stopping = True

    def problems(self) -> Mapping[str, str]:
        """What is wrong; empty while the service sells."""
        found = {}
        if self._stopping:
            found["service"] = "it is shutting down: running requests are finished, new ones belong elsewhere"
        if self._ledger.failure is not None:
            found["ledger"] = self._ledger.failure
        if not self._view.selling(self._clock.now(), self._shortest):
            found["chain"] = "the chain has not been seen for too long: look at the RPC node"
        return found
