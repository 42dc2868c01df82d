"""What the caller is willing to spend and to lock; checked before anything is signed (F29)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from solders.pubkey import Pubkey

from retainer.errors import CapError
from retainer.protocol.amounts import BaseUnits, base_units, format_amount, parse_amount
from retainer.protocol.constants import MAX_EXPIRY_AHEAD

Amount: TypeAlias = str | int
"""A decimal in the token's units ("0.76"), or an int of base units."""

DAY: Final = 86_400


def in_base_units(amount: Amount, decimals: int) -> BaseUnits:
    """The amount in base units of a token with ``decimals``; AmountError when it is none."""
    return parse_amount(amount, decimals) if isinstance(amount, str) else base_units(amount)


@dataclass(frozen=True, slots=True)
class Deposited:
    """A deposit that the payer signed: when (Unix seconds), of which token, base units, for which service."""

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
    ``per_day``      the sum of deposits signed within 24 hours, refunds not counted. Like the next one it is held
                     against the store in the write that keeps the deposit, so that all workers and processes on one
                     store share it.
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

    def require_deposit(self, deposit: Deposited, decimals: int, history: Iterable[Deposited]) -> None:
        """CapError when the deposit, or all of the last 24 hours with it, is more than allowed."""
        self.require_top_up(deposit, deposit.amount, decimals, history)

    def require_top_up(self, added: Deposited, total: int, decimals: int, history: Iterable[Deposited]) -> None:
        """The same for what is added to a session, whose deposit is then ``total`` base units."""
        if self.per_session is not None and total > in_base_units(self.per_session, decimals):
            raise CapError(
                f"a deposit of {format_amount(total, decimals)} exceeds the cap of {self._shown(self.per_session)} "
                "per session; nothing was signed"
            )
        recent = [past for past in history if past.mint == added.mint and added.at - past.at < DAY]
        self._require_room(self.per_day, "per day", added, decimals, recent)
        there = [past for past in recent if past.origin == added.origin]
        self._require_room(self.per_origin, f"per day for {added.origin}", added, decimals, there)

    def _require_room(
        self, cap: Amount | None, what: str, added: Deposited, decimals: int, recent: list[Deposited]
    ) -> None:
        if cap is None:
            return
        most, used = in_base_units(cap, decimals), sum(past.amount for past in recent)
        if used + added.amount > most:
            raise CapError(
                f"a deposit of {format_amount(added.amount, decimals)} after {format_amount(used, decimals)} within "
                f"the last 24 hours exceeds the cap of {self._shown(cap)} {what}{_when_free(added, most, recent)}; "
                "nothing was signed"
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


def _when_free(added: Deposited, most: int, recent: list[Deposited]) -> str:
    """When those made first have left the last 24 hours, as words."""
    left: int = sum(past.amount for past in recent)
    for past in sorted(recent, key=lambda past: past.at):
        left -= past.amount
        if left + added.amount <= most:
            return f", which has room for it in {past.at + DAY - added.at} s"
    return ""
