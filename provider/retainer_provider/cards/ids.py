"""Ids of cards: `qs-` and a ULID, which is 48 bits of time and 80 of chance in Crockford's base32. Pure.

One card has one spelling: capitals only, none of the letters I, L, O and U that look like others, nothing beside it. So
an id can stand in a path, a file name or a text and never mean anything but the card (no path traversal, no aliases).
"""

import re
from typing import Final

LENGTH: Final = 29
CHANCE_BYTES: Final = 10
"""Random bytes that an id takes."""

ID_PATTERN: Final = "qs-[0-7][0-9A-HJKMNP-TV-Z]{25}"
"""Of exactly the valid ids: 26 digits of five bits hold 130, so the first of them is at most 7."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID: Final = re.compile(ID_PATTERN, re.ASCII)
_DIGITS: Final = 26
_BITS: Final = 5
_LATEST_MS: Final = 2**48 - 1


def is_card_id(text: str) -> bool:
    """Whether the text is a card's id, and nothing else."""
    return _ID.fullmatch(text) is not None


def card_id(now_ms: int, chance: bytes) -> str:
    """The id of a card made at this time (unix milliseconds) with CHANCE_BYTES of chance: later ids sort behind."""
    if not 0 <= now_ms <= _LATEST_MS or len(chance) != CHANCE_BYTES:
        raise ValueError(f"a card's id is made of 48 bits of milliseconds and {CHANCE_BYTES} bytes of chance")
    number = int.from_bytes(now_ms.to_bytes(6, "big") + chance, "big")
    digits = (_ALPHABET[number >> _BITS * place & 31] for place in reversed(range(_DIGITS)))
    return "qs-" + "".join(digits)
