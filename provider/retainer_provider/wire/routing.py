"""Which offer prices a path. A path that an upstream could read as another one is refused (F19, F20).

Servers decode, collapse and fold paths in different ways. So a path is matched as it came and in the reading of
the most lenient server; only where both agree does a request pass, otherwise a cheap path could reach a dear one.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from retainer_provider.offers import Offer
from retainer_provider.remembered import Remembered
from retainer_provider.settings import SettingsError
from retainer_provider.tariffs import ONE_UNIT, Tariff

_DECODINGS: Final = 3
"""How often a chain of servers may percent-decode: as it came, once, and once more by mistake."""
_SHORT: Final = 256


class Unpriced(StrEnum):
    """What a path is when no offer prices it."""

    FREE = "free"
    UNKNOWN = "unknown"  # neither priced nor listed as free: nothing is served
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Priced:
    """What a priced path costs: so many units of the offer."""

    offer: Offer
    tariff: Tariff = ONE_UNIT


Target = Priced | Unpriced

Finder = Callable[[Scope], Target]
"""What an ASGI request costs."""


@dataclass(frozen=True, slots=True)
class _Patterns:
    exact: Mapping[str, Target]
    prefixes: Sequence[tuple[str, Target]]  # longest first

    def find(self, path: str) -> Target:
        if path in self.exact:
            return self.exact[path]
        return next((target for prefix, target in self.prefixes if path.startswith(prefix)), Unpriced.UNKNOWN)


class RouteTable:
    """Patterns are whole paths ("/v1/report") or prefixes ("/v1/*", which covers "/v1" too); the longest wins."""

    def __init__(self, offers: Mapping[str, Offer], free: Sequence[str] = ()) -> None:
        priced: dict[str, Target] = {
            route: Priced(offer, tariff) for offer in offers.values() for route, tariff in offer.routes.items()
        }
        targets: dict[str, Target] = {**dict.fromkeys(free, Unpriced.FREE), **priced}
        self._literal = _compile(targets)
        lenient: dict[str, Target] = {}
        for pattern, target in targets.items():
            if lenient.setdefault(_lenient(pattern), target) != target:
                raise SettingsError(f"route {pattern!r} differs from another only in spelling: give both one price")
        self._lenient = _compile(lenient)
        self._known: Remembered[bytes, Target] = Remembered()

    def of(self, scope: Scope) -> Target:
        """What an ASGI request costs."""
        path = raw_path(scope)
        target = self._known.get(path)
        if target is None:
            target = self.find(path)
            # Paths of any length would let strangers fill the memory.
            if len(path) <= _SHORT:
                self._known.keep(path, target)
        return target

    def find(self, raw_path: bytes) -> Target:
        """What a path costs as it came on the request line, without its query."""
        path = raw_path.decode("latin-1")
        target = self._literal.find(path)
        if not path.startswith("/") or target is Unpriced.UNKNOWN:
            return Unpriced.UNKNOWN
        for _ in range(_DECODINGS):
            if self._lenient.find(_lenient(path)) != target:
                return Unpriced.AMBIGUOUS
            path = unquote_to_bytes(path).decode("latin-1")
        return target


def raw_path(scope: Scope) -> bytes:
    """The path as it came. Optional in ASGI; where it is missing, the decoded path is all there is."""
    found: bytes = scope.get("raw_path") or scope["path"].encode()
    return found


def _compile(targets: Mapping[str, Target]) -> _Patterns:
    exact: dict[str, Target] = {}
    prefixes: list[tuple[str, Target]] = []
    for pattern, target in targets.items():
        if pattern.endswith("*"):
            prefixes.append((pattern[:-1], target))
            if pattern.endswith("/*"):
                exact.setdefault(pattern[:-2] or "/", target)
        else:
            exact[pattern] = target
    return _Patterns(exact, sorted(prefixes, key=lambda entry: -len(entry[0])))


def _lenient(path: str) -> str:
    """The path after everything a server may do to it: fold case, drop parameters and controls, resolve dots."""
    printable = "".join(character for character in path if character.isprintable())
    segments = [segment.partition(";")[0].rstrip(" ") for segment in printable.replace("\\", "/").split("/")]
    resolved = posixpath.normpath("/" + "/".join(filter(None, segments)))
    return "/" + "/".join(segment.rstrip(".") for segment in resolved.casefold().split("/") if segment)
