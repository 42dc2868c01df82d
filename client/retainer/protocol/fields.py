"""Reading a JSON object field by field: each value is checked once, here, and each error names the field's path."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final, TypeVar

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol.amounts import BaseUnits, parse_base_units
from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.encoding import Json, decode_base64
from retainer.protocol.errors import AmountError, MessageError

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_LONGEST_BASE58_KEY: Final = 44
_LONGEST_BASE58_SIGNATURE: Final = 88
_SHA256_HEX_LENGTH: Final = 64
_HEX_DIGITS: Final = frozenset("0123456789abcdef")


class FieldValueError(Exception):
    """A value that its field cannot hold; ``Fields`` says which field when it turns this into a MessageError."""


class Fields:
    """One JSON object under a path such as ``payload.voucher``; unknown fields are ignored, null is never a value."""

    __slots__ = ("_object", "path")

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise MessageError(f"{path} must be a JSON object")
        self._object: dict[str, Json] = value
        self.path = path

    def __contains__(self, name: str) -> bool:
        return name in self._object

    def items(self) -> Iterable[tuple[str, Json]]:
        """All members as they are."""
        return self._object.items()

    def require(self, name: str, read: Callable[[object], T]) -> T:
        """The field's value as ``read`` understands it; MessageError when absent or wrong."""
        if name not in self._object:
            raise MessageError(f"{self.path}.{name} is missing")
        try:
            return read(self._object[name])
        except FieldValueError as error:
            raise MessageError(f"{self.path}.{name} {error}") from None

    def optional(self, name: str, read: Callable[[object], T]) -> T | None:
        """Like ``require``, but None when the field is absent."""
        return self.require(name, read) if name in self._object else None

    def inside(self, name: str) -> "Fields":
        """The object in a field that must be there."""
        if name not in self._object:
            raise MessageError(f"{self.path}.{name} is missing")
        return Fields(self._object[name], f"{self.path}.{name}")

    def inside_optional(self, name: str) -> "Fields | None":
        """The object in a field, None when the field is absent."""
        return self.inside(name) if name in self._object else None

    def refuse(self, name: str, reason: str) -> None:
        """MessageError when the field is there at all."""
        if name in self._object:
            raise MessageError(f"{self.path}.{name} {reason}")

    def only(self, *names: str) -> None:
        """MessageError when a field other than these is there."""
        for name in self._object:
            if name not in names:
                raise MessageError(f"{self.path} has a member that is not known here: {name[:40]!r}")


def text(value: object) -> str:
    """A string that has UTF-8 bytes (a lone surrogate has none)."""
    if not isinstance(value, str):
        raise FieldValueError("must be a string")
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise FieldValueError("is not valid Unicode") from None
    return value


def filled_text(value: object) -> str:
    """A string with at least one character."""
    if not text(value):
        raise FieldValueError("must not be empty")
    return text(value)


def exactly(*allowed: str) -> Callable[[object], str]:
    """A string that is one of ``allowed``."""

    def read(value: object) -> str:
        if text(value) not in allowed:
            raise FieldValueError(f"must be {' or '.join(allowed)}")
        return text(value)

    return read


def member(kind: type[E]) -> Callable[[object], E]:
    """A string that is one of the enum's values."""
    choose = exactly(*kind)
    return lambda value: kind(choose(value))


def flag(value: object) -> bool:
    """A JSON true or false."""
    if not isinstance(value, bool):
        raise FieldValueError("must be true or false")
    return value


def integer(least: int = 0, most: int = JSON_INTEGER_MAX) -> Callable[[object], int]:
    """A JSON integer between ``least`` and ``most``."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise FieldValueError("must be an integer")
        if not least <= value <= most:
            raise FieldValueError(f"must lie between {least} and {most}")
        return value

    return read


def units(value: object) -> BaseUnits:
    """A decimal string of base units; also any other u64, which JSON numbers cannot hold."""
    try:
        return parse_base_units(text(value))
    except AmountError:
        raise FieldValueError("must be a decimal u64 string without sign or leading zero") from None


def pubkey(value: object) -> Pubkey:
    """A base58 public key of exactly 32 bytes."""
    return _base58(value, Pubkey.from_string, _LONGEST_BASE58_KEY, Pubkey.LENGTH)


def signature(value: object) -> Signature:
    """A base58 signature of exactly 64 bytes."""
    return _base58(value, Signature.from_string, _LONGEST_BASE58_SIGNATURE, Signature.LENGTH)


def _base58(value: object, read: Callable[[str], T], longest: int, size: int) -> T:
    written = text(value)
    # The length is looked at first: base58 decoding costs quadratic time.
    if len(written) <= longest:
        try:
            return read(written)
        except ValueError:
            pass
    raise FieldValueError(f"must be base58 of {size} bytes")


def blockhash(value: object) -> Hash:
    """A base58 blockhash of exactly 32 bytes."""
    return Hash.from_bytes(bytes(pubkey(value)))


def base64_bytes(most: int) -> Callable[[object], bytes]:
    """Standard padded base64 of at most ``most`` bytes."""

    def read(value: object) -> bytes:
        written = text(value)
        if len(written) > (most + 2) // 3 * 4:
            raise FieldValueError(f"must be at most {most} bytes of base64")
        try:
            data = decode_base64(written)
        except ValueError as error:
            raise FieldValueError(str(error)) from None
        if not 0 < len(data) <= most:
            raise FieldValueError(f"must be 1 to {most} bytes of base64")
        return data

    return read


def hex_digest(value: object) -> str:
    """64 lower-case hexadecimal digits: a SHA-256."""
    written = text(value)
    if len(written) != _SHA256_HEX_LENGTH or not set(written) <= _HEX_DIGITS:
        raise FieldValueError("must be 64 lower-case hexadecimal digits")
    return written


def text_map(value: object) -> dict[str, str]:
    """A flat JSON object of strings."""
    if not isinstance(value, dict):
        raise FieldValueError("must be a JSON object")
    return {text(key): text(entry) for key, entry in value.items()}


def map_of(read: Callable[[object], T]) -> Callable[[object], dict[str, T]]:
    """A flat JSON object whose every value ``read`` understands."""

    def read_all(value: object) -> dict[str, T]:
        if not isinstance(value, dict):
            raise FieldValueError("must be a JSON object")
        return {text(key): read(entry) for key, entry in value.items()}

    return read_all


def list_of(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """A JSON array whose every element ``read`` understands."""

    def read_all(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise FieldValueError("must be an array")
        return tuple(read(entry) for entry in value)

    return read_all


def no_splits(value: object) -> None:
    """An array of distribution splits that must be empty."""
    if value != []:
        raise FieldValueError("must be empty: retainer pays one payee, without splits")


def present(members: dict[str, Json]) -> dict[str, Json]:
    """The members that are not None: an absent field is left out, never written as null."""
    return {name: value for name, value in members.items() if value is not None}
