"""One fixed byte layout and the dataclass it fills; the only place where construct's untyped containers are touched."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, TypeVar

from construct import Bytes, Construct, ConstructError, ExprAdapter, Int8ul
from solders.pubkey import Pubkey

from retainer.protocol.errors import LayoutError

if TYPE_CHECKING:
    from dataclasses import Field
    from enum import IntEnum


class _Dataclass(Protocol):
    __dataclass_fields__: "ClassVar[dict[str, Field[Any]]]"


T = TypeVar("T", bound=_Dataclass)

PUBLIC_KEY: "Final[Construct[Any, Any]]" = ExprAdapter(
    Bytes(Pubkey.LENGTH), lambda obj, _: Pubkey.from_bytes(obj), lambda obj, _: bytes(obj)
)


def enum_byte(kind: "type[IntEnum]") -> "Construct[Any, Any]":
    """A byte that must be one of the enum's values."""
    return ExprAdapter(Int8ul, lambda obj, _: kind(obj), lambda obj, _: int(obj))


class Layout(Generic[T]):
    """Bytes = ``tag`` then the struct, nothing after; members of the struct without a dataclass field are constants."""

    def __init__(self, kind: type[T], struct: "Construct[Any, Any]", tag: bytes = b"") -> None:
        self.name: Final = kind.__name__
        self.tag: Final = tag
        self.size: Final = len(tag) + struct.sizeof()
        self._kind = kind
        self._struct = struct
        self._names = tuple(field.name for field in fields(kind))

    def decode(self, data: bytes) -> T:
        """Read exactly ``size`` bytes; LayoutError on any other length, tag or value."""
        if len(data) != self.size:
            raise LayoutError(f"{self.name} has {self.size} bytes, not {len(data)}")
        if not data.startswith(self.tag):
            raise LayoutError(f"{self.name} starts with {self.tag.hex()}, not {data[: len(self.tag)].hex()}")
        try:
            parsed = self._struct.parse(data[len(self.tag) :])
        except (ConstructError, ValueError) as error:
            raise LayoutError(f"{self.name}: {_reason(error)}") from None
        return self._kind(**{name: parsed[name] for name in self._names})

    def encode(self, value: T) -> bytes:
        """The bytes of ``value``; LayoutError when a field does not fit."""
        try:
            return self.tag + self._struct.build({name: getattr(value, name) for name in self._names})
        except (ConstructError, ValueError, TypeError) as error:
            raise LayoutError(f"{self.name}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    # construct puts the path on the first line and the reason after it.
    return " ".join(str(error).split())
