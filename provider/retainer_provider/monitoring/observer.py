"""What the service tells whoever counts: each request's outcome, each write of the books, each try to settle."""

from typing import Final, Protocol

from retainer_provider.clock import Clock


class Observer(Protocol):
    """Told as it happens, in the event loop: must not wait, and must not fail."""

    def answered(self, offer: str, outcome: str, seconds: float) -> None:
        """A request to a path of `offer` (empty: of none) was answered; `outcome` is of a fixed set of words."""
        ...

    def wrote(self, call: str, seconds: float) -> None:
        """The ledger's `call` was durable after so long, or had failed."""
        ...

    def tried_to_settle(self, outcome: str) -> None:
        """One try to settle a session ended so."""
        ...


class Unobserved:
    """Nobody counts."""

    def answered(self, offer: str, outcome: str, seconds: float) -> None:
        """See ``Observer``."""

    def wrote(self, call: str, seconds: float) -> None:
        """See ``Observer``."""

    def tried_to_settle(self, outcome: str) -> None:
        """See ``Observer``."""


UNOBSERVED: Final = Unobserved()


class writing:  # noqa: N801 - used like a function
    """Times one call of the ledger: a context. A class, because two of these come with each request."""

    def __init__(self, observer: Observer, clock: Clock, call: str) -> None:
        self._observer = observer
        self._clock = clock
        self._call = call

    def __enter__(self) -> None:
        self._started = self._clock.monotonic()

    def __exit__(self, *_: object) -> None:
        self._observer.wrote(self._call, self._clock.monotonic() - self._started)
