"""What the service tells whoever counts: each request's outcome, each write of the books, each try to settle."""

from typing import Final, Protocol


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
