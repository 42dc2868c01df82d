"""Availability over windows, and the units that are given back: from the usage log alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.availability import Availability, metered
from retainer.protocol.errors import MessageError, TermsError
from retainer.protocol.fields import Fields
from retainer.protocol.usage import UsageEntry

BY_TEN = Availability(min_bps=9_000, credit_bps=1_000, window_requests=10)


def log(marks: str, *, units: int = 1, every_ms: int = 1_000) -> list[UsageEntry]:
    """A log with one entry for each mark: "." kept its terms, "x" broke one and was free."""
    kept = UsageEntry(
        sequence=0,
        timestamp_ms=0,
        key_digest=None,
        method="GET",
        target="/",
        request_digest="0" * 64,
        response_digest="0" * 64,
        status=200,
        latency_ms=1,
        body_bytes=1,
        charged=True,
        term=None,
        units=units,
        amount=BaseUnits(units),
        cumulative=BaseUnits(0),
    )
    broken = replace(kept, charged=False, term="max_latency_ms", units=0, amount=BaseUnits(0))
    return [
        replace(kept if mark == "." else broken, sequence=number, timestamp_ms=number * every_ms)
        for number, mark in enumerate(marks, 1)
    ]


@pytest.mark.parametrize(
    ("marks", "credit", "short"),
    [
        ("", 0, 0),
        ("." * 25, 0, 0),
        (".........x" * 2, 0, 0),  # 90 percent is what was promised
        ("........xx", 1, 1),  # a tenth of 8 units, in whole ones
        ("........xx" + "." * 10, 1, 1),
        ("x.x.......x.........", 1, 1),  # the third breach is the next window's, which may have one
        ("........xx" * 3, 3, 3),
        ("xxxxxxxxxx", 0, 1),  # nothing was charged: there is nothing to give back
        ("..........x.", 1, 1),  # the last window may be shorter: one of two
    ],
)
def test_windows_of_requests(marks: str, credit: int, short: int) -> None:
    meter = metered(BY_TEN, log(marks))
    assert (meter.credit_units, meter.short_windows) == (credit, short)


def test_windows_of_seconds_start_with_their_first_request() -> None:
    """A request each second: 1 to 5, 6 to 10. The breaches fall into one window or into two."""
    by_time = Availability(min_bps=8_000, credit_bps=10_000, window_seconds=5)
    assert metered(by_time, log("...xx.....")).credit_units == 3
    assert metered(by_time, log("....xx....")).credit_units == 0
    assert metered(by_time, log("....xx....", every_ms=1)).credit_units == 0  # all in one: 8 of 10
    assert metered(by_time, log("....xxx...", every_ms=1)).credit_units == 7


def test_units_count_and_not_requests() -> None:
    assert metered(BY_TEN, log("........xx", units=20)).credit_units == 16


def test_without_terms_nothing_is_given_back() -> None:
    meter = metered(None, log("xxxx....."))
    assert (meter.credit_units, meter.worst_credit_units, meter.short_windows) == (0, 0, 0)


@given(
    st.text(alphabet=".x", max_size=60),
    st.builds(
        lambda least, share, window: Availability(least, share, **window),
        st.integers(1, 10_000),
        st.integers(1, 10_000),
        st.sampled_from(["window_requests", "window_seconds"]).flatmap(
            lambda name: st.integers(1, 20).map(lambda size: {name: size})
        ),
    ),
    st.integers(1, 7),
)
def test_what_is_safe_to_settle_never_shrinks(marks: str, terms: Availability, units: int) -> None:
    """Credit <= worst credit <= charged; and what is charged beyond the worst credit only grows."""
    entries, safe = log(marks, units=units), 0
    for count in range(len(entries) + 1):
        meter = metered(terms, entries[:count])
        charged = sum(entry.units for entry in entries[:count])
        assert 0 <= meter.credit_units <= meter.worst_credit_units <= charged
        assert charged - meter.worst_credit_units >= safe
        safe = charged - meter.worst_credit_units


@pytest.mark.parametrize(
    "terms",
    [
        {"min_bps": 0, "credit_bps": 1, "window_requests": 1},
        {"min_bps": 10_001, "credit_bps": 1, "window_requests": 1},
        {"min_bps": 1, "credit_bps": 0, "window_requests": 1},
        {"min_bps": 1, "credit_bps": 1},
        {"min_bps": 1, "credit_bps": 1, "window_requests": 1, "window_seconds": 1},
        {"min_bps": 1, "credit_bps": 1, "window_requests": 0},
        {"min_bps": 1, "credit_bps": 1, "window_seconds": 2**53},
    ],
)
def test_terms_that_cannot_be_meant_are_refused(terms: dict[str, int]) -> None:
    with pytest.raises(TermsError):
        Availability(**terms)


def test_an_unknown_member_is_refused() -> None:
    with pytest.raises(MessageError, match="not known here: 'creditBPS'"):
        Availability.from_json(Fields({"minBps": 1, "creditBPS": 1, "windowSeconds": 1}, "availability"))
