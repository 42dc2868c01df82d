"""Availability: how many of a session's requests kept their terms, window by window, and what is given back for less.

The requests of a session are cut into windows that do not overlap: so many requests each, or so many seconds from the
window's first request on. A window falls short when fewer than ``min_bps`` of its requests kept the terms; then
``credit_bps`` of the units charged in it are given back, rounded up to whole units, since a committed price lets only
whole units be settled. All of it follows from the usage log: an auditor computes the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from retainer.protocol import fields
from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.encoding import Json
from retainer.protocol.errors import TermsError
from retainer.protocol.fields import Fields
from retainer.protocol.usage import UsageEntry

_WHOLE: Final = 10_000  # basis points
_MILLISECONDS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Availability:
    """``min_bps`` and ``credit_bps`` are hundredths of a percent; a window is so many requests or seconds, not both."""

    min_bps: int
    credit_bps: int
    window_requests: int | None = None
    window_seconds: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("min_bps", self.min_bps), ("credit_bps", self.credit_bps)):
            if not 1 <= value <= _WHOLE:
                raise TermsError(f"availability {name} lies between 1 and {_WHOLE}, which is 100 percent, not {value}")
        if (self.window_requests is None) == (self.window_seconds is None):
            raise TermsError("availability is over a window of requests or of seconds: name one of the two")
        for name, window in (("window_requests", self.window_requests), ("window_seconds", self.window_seconds)):
            if window is not None and not 1 <= window <= JSON_INTEGER_MAX // _MILLISECONDS:
                raise TermsError(f"availability {name} must be at least 1")

    def to_json(self) -> dict[str, Json]:
        """The object under ``availability``."""
        return fields.present(
            {
                "minBps": self.min_bps,
                "creditBps": self.credit_bps,
                "windowRequests": self.window_requests,
                "windowSeconds": self.window_seconds,
            }
        )

    @classmethod
    def from_json(cls, terms: Fields) -> "Availability":
        """Read ``to_json``'s form; MessageError and TermsError name the bad field, an unknown one included."""
        terms.only("minBps", "creditBps", "windowRequests", "windowSeconds")
        return cls(
            min_bps=terms.require("minBps", fields.integer(1, _WHOLE)),
            credit_bps=terms.require("creditBps", fields.integer(1, _WHOLE)),
            window_requests=terms.optional("windowRequests", fields.integer(1)),
            window_seconds=terms.optional("windowSeconds", fields.integer(1)),
        )


class AvailabilityMeter:
    """Reads a usage log in order, in constant memory; ``terms`` of None give nothing back."""

    def __init__(self, terms: Availability | None) -> None:
        self._terms = terms
        self._closed = 0  # units to give back for the windows that ended
        self._closed_at_worst = 0
        self._short = 0
        self._started_ms = 0
        self._requests = self._kept = self._units = 0  # of the running window

    def add(self, entry: UsageEntry) -> None:
        """Take the log's next request."""
        if self._terms is None:
            return
        if self._requests and self._ended(self._terms, entry):
            self._closed, self._short = self.credit_units, self.short_windows
            self._closed_at_worst = self.worst_credit_units
            self._requests = self._kept = self._units = 0
        if not self._requests:
            self._started_ms = entry.timestamp_ms
        self._requests += 1
        self._kept += entry.term is None
        self._units += entry.units

    @property
    def credit_units(self) -> int:
        """Whole units to give back, the running window counted as if it ended here; never more than were charged."""
        return self._closed + (self._share if self._falls_short else 0)

    @property
    def worst_credit_units(self) -> int:
        """The same if every window fell short. It grows no faster than what is charged."""
        return self._closed_at_worst + self._share

    @property
    def short_windows(self) -> int:
        """How many windows fell short."""
        return self._short + self._falls_short

    @property
    def _share(self) -> int:
        return 0 if self._terms is None else -(-self._units * self._terms.credit_bps // _WHOLE)

    @property
    def _falls_short(self) -> bool:
        return self._terms is not None and self._kept * _WHOLE < self._requests * self._terms.min_bps

    def _ended(self, terms: Availability, entry: UsageEntry) -> bool:
        if terms.window_requests is not None:
            return self._requests == terms.window_requests
        return entry.timestamp_ms - self._started_ms >= (terms.window_seconds or 0) * _MILLISECONDS


def metered(terms: Availability | None, entries: Iterable[UsageEntry]) -> AvailabilityMeter:
    """The meter after all ``entries``."""
    meter = AvailabilityMeter(terms)
    for entry in entries:
        meter.add(entry)
    return meter
