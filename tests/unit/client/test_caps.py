"""Spending caps (F29)."""

import pytest
from solders.pubkey import Pubkey

from retainer.channels.spending import DAY, HOUR, marked
from retainer.errors import CapError
from retainer.protocol.amounts import base_units
from retainer.protocol.errors import AmountError
from retainer.trust.caps import Deposited, Exposure, SpendingCaps, in_base_units

MINT, OTHER = Pubkey.new_unique(), Pubkey.new_unique()
NOW = 1_800_000_000


def deposited(amount: int) -> Deposited:
    return Deposited(NOW, MINT, base_units(amount), "https://one.example")


def exposed(
    total: int, *spent_by: tuple[int, int], mint: Pubkey = MINT, origin: str = "https://one.example"
) -> Exposure:
    return Exposure(mint, origin, total, spent_by)


def test_amounts_are_decimals_of_the_token_or_base_units() -> None:
    assert in_base_units("0.008", 6) == 8_000
    assert in_base_units(8_000, 6) == 8_000
    with pytest.raises(AmountError):
        in_base_units("0.0000001", 6)


def test_a_price_at_the_cap_passes_and_one_unit_above_is_refused() -> None:
    caps = SpendingCaps(per_request="0.008")
    caps.require_price(8_000, 6)
    with pytest.raises(CapError, match=r"costs 0\.008001, above the cap of 0\.008 per request"):
        caps.require_price(8_001, 6)


def test_a_deposit_at_the_cap_passes_and_one_unit_above_is_refused() -> None:
    caps = SpendingCaps(per_session="1")
    caps.require_deposit(deposited(1_000_000), 6, [])
    with pytest.raises(CapError, match="exceeds the cap of 1 per session"):
        caps.require_deposit(deposited(1_000_001), 6, [])


def test_a_cap_in_base_units_is_shown_as_such() -> None:
    with pytest.raises(CapError, match="cap of 5 base units"):
        SpendingCaps(per_session=5).require_deposit(deposited(6), 6, [])


def test_the_daily_cap_counts_open_deposits_of_the_same_token_whenever_they_were_made() -> None:
    caps = SpendingCaps(per_day="2.0")
    caps.require_deposit(deposited(1_000_000), 6, [exposed(1_000_000), exposed(5_000_000, mint=OTHER)])
    with pytest.raises(CapError, match=r"besides 1\.000001 that is in open sessions or was spent within the last 24 h"):
        caps.require_deposit(deposited(1_000_000), 6, [exposed(1_000_001)])


def test_what_was_spent_a_day_ago_counts_no_more() -> None:
    spent = exposed(1_000_000, (NOW - DAY - 5, 100), (NOW - DAY, 600_000), (NOW - 10, 900_000))
    assert spent.within_a_day(NOW) == 400_000
    assert spent.within_a_day(NOW - 1) == 999_900
    assert spent.within_a_day(NOW - 10 + DAY) == 100_000
    assert exposed(0).within_a_day(NOW) == 0, "settled with nothing: all came back"


def test_a_full_cap_says_when_it_has_room_again() -> None:
    past = [exposed(600_000, (NOW - 100, 600_000)), exposed(900_000, (NOW - 500, 900_000))]
    with pytest.raises(CapError, match=r"per day, which has room for it in 85900 s\. Closing .*; nothing was signed"):
        SpendingCaps(per_day="2.0").require_deposit(deposited(1_000_000), 6, past)
    with pytest.raises(CapError, match=r"2\.0 per day\. Closing a session frees what it has not spent; nothing"):
        SpendingCaps(per_day="2.0").require_deposit(deposited(2_000_001), 6, past)


def test_marks_are_kept_to_the_hour_for_a_day_and_never_go_back() -> None:
    marks = marked((), NOW, 1)
    assert marked(marks, NOW + HOUR - 1, 2) == ((NOW, 1),)
    assert marked(marks, NOW + HOUR, 2) == ((NOW, 1), (NOW + HOUR, 2))
    assert marked(marks, NOW - 5, 2, last=True) == ((NOW, 1), (NOW, 2)), "another worker's clock is behind"
    for hour in range(100):
        marks = marked(marks, NOW + hour * HOUR, hour)
    assert len(marks) <= 26
    assert marks[0][0] == NOW + 75 * HOUR, "the newest of those that are a day old, and what is younger"


def test_the_cap_per_origin_counts_one_service() -> None:
    caps = SpendingCaps(per_origin="1.0")
    caps.require_deposit(deposited(1_000_000), 6, [exposed(1_000_000, origin="https://two.example")])
    with pytest.raises(CapError, match=r"cap of 1\.0 per day for https://one\.example"):
        caps.require_deposit(deposited(1_000_000), 6, [exposed(1)])


def test_without_caps_only_time_is_bounded() -> None:
    caps = SpendingCaps()
    caps.require_price(10**18, 6)
    caps.require_deposit(deposited(10**18), 6, [exposed(10**18)])
    with pytest.raises(CapError, match="keep the deposit 86401 s"):
        caps.require_times(86_401, 0)


def test_a_session_that_expires_too_late_is_refused() -> None:
    caps = SpendingCaps(max_duration=3600)
    caps.require_times(900, 3600)
    with pytest.raises(CapError, match="expire in 3601 s"):
        caps.require_times(900, 3601)
