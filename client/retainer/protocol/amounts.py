"""Money: whole base units inside, decimal strings on the wire, decimals only where a person reads or types them."""

import re
from typing import Final, NewType

from retainer.protocol.constants import U64_MAX
from retainer.protocol.errors import AmountError

BaseUnits = NewType("BaseUnits", int)
"""An amount in a token's smallest unit, 0 to 2**64 - 1."""

# SPL stores decimals in a byte; beyond 20 digits a u64 has no unit left to show.
MAX_DECIMALS: Final = 20
_WIRE: Final = re.compile(r"(?:0|[1-9][0-9]{0,19})\Z", re.ASCII)
_TYPED: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?\Z", re.ASCII)
_TYPED_MAX_LENGTH: Final = 64


def base_units(value: int) -> BaseUnits:
    """Check that ``value`` is an int within u64 and mark it as base units, else AmountError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise AmountError(f"an amount is an int of base units, not {type(value).__name__}")
    if not 0 <= value <= U64_MAX:
        raise AmountError(f"an amount lies between 0 and {U64_MAX} base units")
    return BaseUnits(value)


def parse_base_units(text: str) -> BaseUnits:
    """Read the wire form: decimal digits, no sign, space or leading zero, at most u64; else AmountError."""
    if not _WIRE.match(text):
        raise AmountError("an amount on the wire is a decimal string of base units without sign, space or leading zero")
    return base_units(int(text))


def parse_amount(text: str, decimals: int) -> BaseUnits:
    """Read what a person typed, in the token's units ("0.008"), exactly; digits below one base unit are refused."""
    _require_decimals(decimals)
    match = _TYPED.match(text) if len(text) <= _TYPED_MAX_LENGTH else None
    if match is None:
        raise AmountError(
            f"write the amount as digits with at most one point, such as 0.76: {text[:_TYPED_MAX_LENGTH]!r}"
        )
    whole, fraction = match.group(1), (match.group(2) or "").rstrip("0")
    if len(fraction) > decimals:
        raise AmountError(f"{text} is finer than the token's smallest unit: it has {decimals} decimals")
    return base_units(int(whole + fraction.ljust(decimals, "0")))


def format_amount(units: int, decimals: int) -> str:
    """Show base units in the token's units: shortest form with at least one digit after the point ("1.0", "0.76")."""
    _require_decimals(decimals)
    digits = str(base_units(units)).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    return f"{whole}.{fraction.rstrip('0') or '0'}"


def requests_left(remaining: int, price: int) -> int | None:
    """How many requests at ``price`` base units ``remaining`` still pays for; None when the price varies (0)."""
    return None if price == 0 else base_units(remaining) // base_units(price)


def _require_decimals(decimals: int) -> None:
    if not 0 <= decimals <= MAX_DECIMALS:
        raise AmountError(f"a token has 0 to {MAX_DECIMALS} decimals, not {decimals}")
