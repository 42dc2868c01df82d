"""How often and how many at once: payers by their key, and whoever has not paid by the address it comes from.

Who pays never waits for those who do not: an address that asks too often loses its challenges and openings, while
requests with a good credential go on from there (F21).
"""

import math
from collections.abc import Hashable
from typing import Final

from retainer.protocol.problems import ProblemType
from retainer_provider.rates import Slots, Throttle
from retainer_provider.sessions.refusals import Refusal, RefusedError

_OF_KNOWN_PAYERS: Final = frozenset(
    {
        ProblemType.SESSION_DEPLETED,
        ProblemType.SESSION_EXPIRED,
        ProblemType.SESSION_CLOSING,
        ProblemType.SESSION_CLOSED,
        ProblemType.IDEMPOTENCY_CONFLICT,
        ProblemType.REQUEST_IN_FLIGHT,
        ProblemType.FREE_ANSWERS_EXHAUSTED,
        ProblemType.BODY_TOO_LARGE,
        ProblemType.BODY_TOO_SLOW,
        ProblemType.CHAIN_UNAVAILABLE,
        ProblemType.SERVICE_UNAVAILABLE,
    }
)
"""Refusals that only someone with a session can bring about, or that are the service's own fault."""


class Fairness:
    """`payers` and `strangers` are how often, `running` how many of a payer's requests at once."""

    def __init__(self, *, payers: Throttle, running: Slots, strangers: Throttle) -> None:
        self._payers = payers
        self._running = running
        self._strangers = strangers

    def admit(self, payer: Hashable) -> None:
        """Take room for one request of a payer that has shown its credential, to be given back by ``leave``.

        RefusedError when it has none left.
        """
        if not self._running.take(payer):
            raise RefusedError(_too_many("This payer", 1))
        seconds = self._payers.take(payer)
        if seconds:
            self._running.give(payer)
            raise RefusedError(_too_many("This payer", seconds))

    def leave(self, payer: Hashable) -> None:
        """Give back the room of one admitted request."""
        self._running.give(payer)

    def require_room_for_unpaid(self, caller: str) -> None:
        """RefusedError when an address has asked too often without paying."""
        if seconds := self._strangers.wait(caller):
            raise RefusedError(_too_many("This address", seconds))

    def too_often(self, refusal: Refusal, caller: str) -> Refusal | None:
        """Count what is refused to `caller`; what to tell it, and nothing more, when that was too often."""
        if refusal.problem is ProblemType.TOO_MANY_REQUESTS:
            return refusal
        if refusal.problem in _OF_KNOWN_PAYERS:
            return None
        seconds = self._strangers.take(caller)
        return _too_many("This address", seconds) if seconds else None


def _too_many(who: str, seconds: float) -> Refusal:
    wait = max(1, math.ceil(seconds))
    return Refusal(
        ProblemType.TOO_MANY_REQUESTS,
        f"{who} asks more often, or more at once, than this service allows: try again after {wait} s. "
        "Nothing was charged.",
        retry_after=wait,
    )
