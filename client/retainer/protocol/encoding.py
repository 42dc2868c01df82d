"""Canonical text: RFC 8785 JSON, base64url without padding, and a JSON reader that refuses what is ambiguous."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Never, TypeAlias

import msgspec
import rfc8785

from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.errors import MessageError

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
"""The JSON that retainer writes and reads: there are no floats in it."""

_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_LONGEST_INTEGER: Final = len(str(-JSON_INTEGER_MAX))
# Stands for no value, and is no JSON: compared by identity.
_OTHER: Final[dict[str, Json]] = {}
_TEXT_ONLY: Final = frozenset({str})
# Sorts names by code points, which for ASCII is RFC 8785's order; its numbers and escapes are the same throughout.
_SORTED: Final = msgspec.json.Encoder(order="deterministic")
_AS_DECLARED: Final = msgspec.json.Encoder()
# Also finds digits inside of a text; those then take the long way, to the same bytes.
_LONG_INTEGER: Final = re.compile(rb'":[-0-9][0-9]{15}')


def canonical_json(value: Mapping[str, Json]) -> bytes:
    """The RFC 8785 bytes of a JSON object; MessageError where it has none (integer beyond 2**53, lone surrogate)."""
    try:
        # Every receipt and usage entry passes here; the compiled encoder takes a thirtieth of the reference's time.
        return _SORTED.encode(value) if _is_plain(value) else rfc8785.dumps(dict(value))
    except UnicodeEncodeError:
        raise MessageError("the message has no canonical JSON: a text holds half of a surrogate pair") from None
    except rfc8785.CanonicalizationError as error:
        raise MessageError(f"the message has no canonical JSON: {error}") from None


def canonical_text(message: msgspec.Struct) -> bytes:
    """The RFC 8785 bytes of what ``msgspec.to_builtins`` makes of ``message``; MessageError as for ``canonical_json``.

    Its class, and those of structs inside it, declare members by ASCII names in the order that RFC 8785 sorts them.
    """
    try:
        text = _AS_DECLARED.encode(message)
    except (UnicodeEncodeError, OverflowError):
        text = None
    if text is None or _LONG_INTEGER.search(text):
        return canonical_json(msgspec.to_builtins(message))
    return text


def read_json(data: bytes, what: str) -> Json:
    """Parse UTF-8 JSON and refuse what two readers could read differently.

    Duplicate keys, floats, NaN, integers beyond 2**53 and nesting too deep for the parser raise MessageError.
    """
    canonical = _canonical_value(data)
    if canonical is not _OTHER:
        return canonical
    try:
        value: Json = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_bounded_integer,
        )
    except UnicodeDecodeError:
        raise MessageError(f"{what} is not UTF-8") from None
    except RecursionError:
        raise MessageError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise MessageError(f"{what} is not acceptable JSON: {error}") from None
    return value


def _canonical_value(data: bytes) -> Json:
    """What canonical text stands for, by the compiled decoder; ``_OTHER`` for any other text.

    What is written again byte by byte as it was read holds no key twice, no float, no large integer: there is nothing
    in it that two readers could read differently.
    """
    try:
        value: Json = msgspec.json.decode(data)
        return value if _is_plain(value) and _SORTED.encode(value) == data else _OTHER
    except (ValueError, RecursionError):
        return _OTHER


def encode_base64url(data: bytes) -> str:
    """base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str, what: str) -> bytes:
    """Decode base64url without padding; padding, foreign characters and unused bits that are set raise MessageError.

    Only one text stands for given bytes, so that a challenge's text can be compared and signed.
    """
    try:
        if not text or "+" in text or "/" in text or "=" in text:
            raise ValueError("of standard base64, or of none")
        padded = text.encode("ascii").translate(_STANDARD) + b"=" * (-len(text) % 4)
        data = binascii.a2b_base64(padded, strict_mode=True)  # which refuses what is not of the alphabet
    except ValueError:
        raise MessageError(f"{what} is not base64url without padding") from None
    # Only the last characters, where no whole four are left, have bits that say nothing.
    rest = len(text) % 4
    if rest and encode_base64url(data[1 - rest :]) != text[-rest:]:
        raise MessageError(f"{what} is not canonical base64url")
    return data


def decode_base64(text: str) -> bytes:
    """Decode standard, padded, canonical base64; ValueError otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not standard base64 with padding") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError("is not canonical base64")
    return data


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _refuse_number(text: str) -> Never:
    raise ValueError(f"only integers are numbers here, not {text[:_LONGEST_INTEGER]}")


def _bounded_integer(text: str) -> int:
    # The length is looked at first: turning a long digit string into an int costs quadratic time.
    if len(text) > _LONGEST_INTEGER or abs(int(text)) > JSON_INTEGER_MAX:
        raise ValueError("an integer exceeds 2**53 - 1; larger ones are written as decimal strings")
    return int(text)


def _is_plain(value: object) -> bool:
    """Whether the compiled encoder writes RFC 8785's bytes: ASCII names, safe integers, exactly JSON's own types."""
    parts: list[Any] = [value]
    for part in parts:  # which grows on the way
        kind = type(part)
        if kind is str or kind is bool or part is None:
            continue
        if kind is dict and _TEXT_ONLY.issuperset(map(type, part)) and "".join(part).isascii():
            parts.extend(part.values())
        elif kind is list:
            parts.extend(part)
        elif kind is not int or not -JSON_INTEGER_MAX <= part <= JSON_INTEGER_MAX:
            return False
    return True
