"""What the caller is willing to spend and to lock; checked before anything is signed (F29)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from solders.pubkey import Pubkey

from retainer.channels.spending import DAY, Marks
from retainer.errors import CapError
from retainer.protocol.amounts import BaseUnits, base_units, format_amount, parse_amount
from retainer.protocol.constants import MAX_EXPIRY_AHEAD

Amount: TypeAlias = str | int
"""A decimal in the token's units ("0.76"), or an int of base units."""


def in_base_units(amount: Amount, decimals: int) -> BaseUnits:
    """The amount in base units of a token with ``decimals``; AmountError when it is none."""
    return parse_amount(amount, decimals) if isinstance(amount, str) else base_units(amount)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one session may cost its payer, in base units of one token, and for which service.

    ``total`` is the most in all; by each time of ``spent_by`` (Unix seconds), so much of it was spent.
    """

    mint: Pubkey
    origin: str
    total: int
    spent_by: Marks = ()

    def within_a_day(self, now: int) -> int:
        """What may have been spent, or may yet be, of what was not spent 24 hours before ``now``."""
        return self.total - max((spent for at, spent in self.spent_by if at <= now - DAY), default=0)


@dataclass(frozen=True, slots=True)
class Deposited:
    """A deposit to be signed: when (Unix seconds), of which token, base units, for which service."""

    at: int
    mint: Pubkey
    amount: BaseUnits
    origin: str


@dataclass(frozen=True, slots=True)
class TopUpPolicy:
    """When less than ``below`` is left in a session, ``amount`` is added, as far as the caps allow."""

    below: Amount
    amount: Amount


@dataclass(frozen=True, slots=True)
class SpendingCaps:
    """Upper bounds; None leaves one open. Amounts hold for each token on its own, times are seconds.

    ``per_session``  the largest deposit, top-ups included. Without it no session opens by itself: only
                     ``create_session``, which names its deposit, opens one.
    ``per_request``  the highest price of a request.
    ``per_day``      what may be spent within any 24 hours. Counted are the deposits of open sessions, all of which may
                     be spent at any moment, and what was settled of those that ended, both without what was spent
                     more than 24 hours ago: so a refund makes room at once, and what was spent does a day later.
                     Held against the store in the write that keeps a deposit, as the next one is, so that all workers
                     and processes on one store share it.
    ``per_origin``   the same for what one service (scheme, host and port) gets.
    ``mints``        the tokens that may be spent. None: well-known stablecoins, and on localnet any token, because
                     tokens are worth nothing there.
    ``max_grace_period``  how long a service may hold the deposit after the payer asked for it back.
    ``max_duration``      how far ahead a session may expire; until then (and the grace period) a payer that has lost
                          its key gets nothing back.
    """

    per_session: Amount | None = None
    per_request: Amount | None = None
    per_day: Amount | None = None
    per_origin: Amount | None = None
    mints: frozenset[Pubkey] | None = None
    max_grace_period: int = DAY
    max_duration: int = MAX_EXPIRY_AHEAD

    def require_price(self, price: int, decimals: int) -> None:
        """CapError when one request would cost more than ``per_request``."""
        if self.per_request is not None and price > in_base_units(self.per_request, decimals):
            raise CapError(
                f"a request costs {format_amount(price, decimals)}, above the cap of {self._shown(self.per_request)} "
                "per request; nothing was signed"
            )

    def require_deposit(self, deposit: Deposited, decimals: int, others: Iterable[Exposure]) -> None:
        """CapError when the deposit alone, or with what the payer's sessions may cost already, is more than allowed."""
        self.require_top_up(deposit, deposit.amount, decimals, others)

    def require_top_up(self, added: Deposited, total: int, decimals: int, others: Iterable[Exposure]) -> None:
        """The same for what is added to a session, whose deposit is then ``total`` base units."""
        if self.per_session is not None and total > in_base_units(self.per_session, decimals):
            raise CapError(
                f"a deposit of {format_amount(total, decimals)} exceeds the cap of {self._shown(self.per_session)} "
                "per session; nothing was signed"
            )
        same = [other for other in others if other.mint == added.mint]
        self._require_room(self.per_day, "per day", added, decimals, same)
        there = [other for other in same if other.origin == added.origin]
        self._require_room(self.per_origin, f"per day for {added.origin}", added, decimals, there)

    def _require_room(
        self, cap: Amount | None, what: str, added: Deposited, decimals: int, others: list[Exposure]
    ) -> None:
        if cap is None:
            return
        most, used = in_base_units(cap, decimals), _used(others, added.at)
        if used + added.amount > most:
            raise CapError(
                f"a deposit of {format_amount(added.amount, decimals)} besides {format_amount(used, decimals)} that is "
                f"in open sessions or was spent within the last 24 hours exceeds the cap of {self._shown(cap)} {what}"
                f"{_when_free(added, most, others)}. Closing a session frees what it has not spent; nothing was signed"
            )

    def require_times(self, grace_period: int, duration: int) -> None:
        """CapError when the deposit could be held longer than the caller allows."""
        if grace_period > self.max_grace_period:
            raise CapError(
                f"the service may keep the deposit {grace_period} s after you ask for it back, "
                f"above the cap of {self.max_grace_period} s; nothing was signed"
            )
        if duration > self.max_duration:
            raise CapError(
                f"the session would expire in {duration} s only, above the cap of {self.max_duration} s; "
                "nothing was signed"
            )

    @staticmethod
    def _shown(cap: Amount) -> str:
        return cap if isinstance(cap, str) else f"{cap} base units"


def _used(exposures: list[Exposure], now: int) -> int:
    return sum(exposure.within_a_day(now) for exposure in exposures)


def _when_free(added: Deposited, most: int, exposures: list[Exposure]) -> str:
    """When so much has left the last 24 hours that there is room, as words."""
    leaving = sorted({at + DAY for exposure in exposures for at, _ in exposure.spent_by if at + DAY > added.at})
    for at in leaving:
        if _used(exposures, at) + added.amount <= most:
            return f", which has room for it in {at - added.at} s"
    return ""
