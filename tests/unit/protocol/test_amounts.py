from typing import Any

import pytest

from retainer.protocol.amounts import base_units, format_amount, parse_amount, parse_base_units, requests_left
from retainer.protocol.constants import U64_MAX
from retainer.protocol.errors import AmountError
from tests.golden import golden

AMOUNTS = golden("amounts")


@pytest.mark.parametrize(("text", "units"), AMOUNTS["wire"].items())
def test_wire_amounts_are_read(text: str, units: str) -> None:
    assert parse_base_units(text) == int(units)


@pytest.mark.parametrize("text", AMOUNTS["refusedOnTheWire"])
def test_any_other_spelling_on_the_wire_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_base_units(text)


@pytest.mark.parametrize("case", AMOUNTS["typed"])
def test_typed_amounts_are_exact(case: dict[str, str]) -> None:
    assert parse_amount(case["text"], int(case["decimals"])) == int(case["units"])


@pytest.mark.parametrize("case", AMOUNTS["refusedAsTyped"])
def test_typed_amounts_that_are_not_exact_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(AmountError):
        parse_amount(case["text"], int(case["decimals"]))


@pytest.mark.parametrize("case", AMOUNTS["shown"])
def test_amounts_are_shown_shortest_with_a_digit_after_the_point(case: dict[str, str]) -> None:
    assert format_amount(int(case["units"]), int(case["decimals"])) == case["text"]


@pytest.mark.parametrize("value", [-1, U64_MAX + 1, True, 1.0, "1", None])
def test_only_ints_within_u64_become_amounts(value: Any) -> None:  # noqa: ANN401 - from a caller without a type checker
    with pytest.raises(AmountError):
        base_units(value)


@pytest.mark.parametrize("decimals", [-1, 21])
def test_a_token_has_no_such_decimals(decimals: int) -> None:
    with pytest.raises(AmountError):
        format_amount(1, decimals)
    with pytest.raises(AmountError):
        parse_amount("1", decimals)


def test_requests_left_counts_whole_requests_and_knows_no_number_for_a_variable_price() -> None:
    assert requests_left(1_000_000, 8000) == 125
    assert requests_left(7999, 8000) == 0
    assert requests_left(1_000_000, 0) is None
