"""Spending caps (F29)."""

import pytest
from solders.pubkey import Pubkey

from retainer.errors import CapError
from retainer.protocol.amounts import base_units
from retainer.protocol.errors import AmountError
from retainer.trust.caps import DAY, Deposited, SpendingCaps, in_base_units

MINT, OTHER = Pubkey.new_unique(), Pubkey.new_unique()
NOW = 1_800_000_000


def deposited(amount: int, at: int = NOW, mint: Pubkey = MINT, origin: str = "https://one.example") -> Deposited:
    return Deposited(at, mint, base_units(amount), origin)


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


def test_the_daily_cap_counts_the_same_token_of_the_last_24_hours() -> None:
    caps = SpendingCaps(per_day="2.0")
    elsewhere = [deposited(5_000_000, mint=OTHER), deposited(5_000_000, at=NOW - DAY)]
    caps.require_deposit(deposited(1_000_000), 6, [deposited(1_000_000, at=NOW - DAY + 1), *elsewhere])
    with pytest.raises(CapError, match=r"after 1\.000001 within the last 24 hours"):
        caps.require_deposit(deposited(1_000_000), 6, [deposited(1_000_001)])


def test_a_full_cap_says_when_it_has_room_again() -> None:
    past = [deposited(600_000, at=NOW - 100), deposited(900_000, at=NOW - 500)]
    with pytest.raises(CapError, match=r"per day, which has room for it in 85900 s; nothing was signed"):
        SpendingCaps(per_day="2.0").require_deposit(deposited(1_000_000), 6, past)
    with pytest.raises(CapError, match=r"per day; nothing was signed"):
        SpendingCaps(per_day="2.0").require_deposit(deposited(2_000_001), 6, past)


def test_the_cap_per_origin_counts_one_service() -> None:
    caps = SpendingCaps(per_origin="1.0")
    caps.require_deposit(deposited(1_000_000), 6, [deposited(1_000_000, origin="https://two.example")])
    with pytest.raises(CapError, match=r"cap of 1\.0 per day for https://one\.example"):
        caps.require_deposit(deposited(1_000_000), 6, [deposited(1)])


def test_without_caps_only_time_is_bounded() -> None:
    caps = SpendingCaps()
    caps.require_price(10**18, 6)
    caps.require_deposit(deposited(10**18), 6, [deposited(10**18)])
    with pytest.raises(CapError, match="keep the deposit 86401 s"):
        caps.require_times(86_401, 0)


def test_a_session_that_expires_too_late_is_refused() -> None:
    caps = SpendingCaps(max_duration=3600)
    caps.require_times(900, 3600)
    with pytest.raises(CapError, match="expire in 3601 s"):
        caps.require_times(900, 3601)
