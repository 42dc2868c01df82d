"""What the operator sells, in the settings file: [routes], and [offers.NAME] with its tables."""

import re
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct
from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    MAX_EXPIRY_AHEAD,
    MAX_GRACE_PERIOD,
    MAX_IDLE_TIMEOUT,
    MAX_UNITS,
    MIN_GRACE_PERIOD,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
)
from retainer.protocol.session import VoucherSigner
from retainer_provider.tariffs import COUNT_BYTES, COUNT_EVENTS, COUNT_UNITS, COUNTS, ONE_UNIT, Tariff

_PATH: Final = re.compile(r"/[\x21-\x7e]*\Z")
# A challenge fixes the expiry before the transaction lands, and clocks differ: stay a day off the program's limit.
_LONGEST_DURATION: Final = MAX_EXPIRY_AHEAD - 86_400

Units = Annotated[int, Meta(ge=0, le=MAX_UNITS)]
Positive = Annotated[int, Meta(ge=1)]
BasisPoints = Annotated[int, Meta(ge=1, le=10_000)]
IdleSeconds = Annotated[int, Meta(ge=1, le=MAX_IDLE_TIMEOUT)]


class RouteSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[routes]: paths that cost nothing. What neither an offer nor this names is answered 404."""

    free: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_patterns("free", self.free)


class AvailabilitySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[offers.NAME.sla.availability]: what a session gets back when too many of its requests broke a term."""

    min_bps: BasisPoints
    credit_bps: BasisPoints
    window_requests: Positive | None = None
    window_seconds: Positive | None = None


class SlaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[offers.NAME.sla]: a request that breaks one of these is answered but not charged."""

    max_latency_ms: Positive | None = None
    accepted_statuses: tuple[str, ...] = ("2xx", "3xx", "4xx")
    min_body_bytes: Annotated[int, Meta(ge=0)] = 0
    response_schema: Path | None = None
    availability: AvailabilitySettings | None = None


class PricedRoute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[offers.NAME.routes]]: a path that costs another number of units than one, or as many as an answer used."""

    path: str
    units: Units = 1
    max_units: Annotated[int, Meta(ge=1, le=MAX_UNITS)] | None = None
    count: str | None = None
    per_unit: Positive = 1
    stream: bool = False

    def __post_init__(self) -> None:
        if self.max_units is None and (self.count is not None or self.per_unit > 1):
            raise ValueError("`count` and `per_unit` price by use: say with `max_units` how much to reserve")
        if self.max_units is not None and self.units > self.max_units:
            raise ValueError("`units` is what an answer costs that does not say: at most `max_units`")
        if self.max_units is None and self.units < 1:
            raise ValueError("`units` is 0: list such paths under [routes] free instead")
        if self.count is not None and self.count not in COUNTS and not self.count.startswith("/"):
            raise ValueError(
                f"`count` is {COUNT_UNITS!r}, {COUNT_EVENTS!r}, {COUNT_BYTES!r} or a JSON pointer such as "
                f'"/usage/total_tokens", not {self.count!r}'
            )
        if self.per_unit > 1 and self.count in {None, COUNT_UNITS}:
            raise ValueError("`per_unit` needs something else to count than units: set `count`")

    @property
    def tariff(self) -> Tariff:
        """What an answer costs."""
        if self.max_units is None:
            return Tariff(units=self.units, max_units=self.units, stream=self.stream)
        return Tariff(
            units=self.units,
            max_units=self.max_units,
            count=self.count or COUNT_UNITS,
            per_unit=self.per_unit,
            stream=self.stream,
        )


class OfferSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[offers.NAME]: amounts are decimal strings in the token's units, times are seconds."""

    price: str
    mint: Pubkey
    decimals: Annotated[int, Meta(ge=0, le=9)]
    suggested_deposit: str
    minimum_deposit: str
    routes: tuple[str | PricedRoute, ...] = ()
    maximum_deposit: str | None = None
    credit_before_finality: str | None = None
    settle_above: str | None = None
    token_program: Pubkey = TOKEN_PROGRAM_ID
    duration: Annotated[int, Meta(ge=60, le=_LONGEST_DURATION)] = 86_400
    grace_period: Annotated[int, Meta(ge=MIN_GRACE_PERIOD, le=MAX_GRACE_PERIOD)] = 3_600
    idle_timeout: IdleSeconds = 3_600
    idle_timeout_options: tuple[IdleSeconds, ...] = ()
    max_free_answers: Annotated[int, Meta(ge=0)] = 100
    voucher_signer: VoucherSigner = VoucherSigner.CLIENT
    anchor_on_chain: bool = True
    description: str | None = None
    sla: SlaSettings | None = None

    def __post_init__(self) -> None:
        if self.token_program not in {TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID}:
            raise ValueError("`token_program` is the SPL Token program or Token-2022; remove the line for SPL Token")
        _require_patterns("routes", tuple(self.tariffs))
        if len(self.tariffs) < len(self.routes):
            raise ValueError("`routes` names a path twice: give it one price")
        if not self.anchor_on_chain and self.voucher_signer is not VoucherSigner.OPERATOR:
            raise ValueError(
                "without `anchor_on_chain` you hold the money, and no voucher limits you: "
                'set `voucher_signer = "operator"`'
            )
        if list(self.idle_timeout_options) != sorted(set(self.idle_timeout_options)):
            raise ValueError("`idle_timeout_options` are seconds in increasing order, each once, such as [600, 86400]")

    @property
    def tariffs(self) -> dict[str, Tariff]:
        """What each of the routes costs."""
        return {
            route if isinstance(route, str) else route.path: ONE_UNIT if isinstance(route, str) else route.tariff
            for route in self.routes
        }


def _require_patterns(name: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        if not _PATH.match(pattern) or "*" in pattern[:-1]:
            raise ValueError(
                f'`{name}` holds paths such as "/v1/report" or "/v1/*" (one star, at the end), not {pattern!r}'
            )
