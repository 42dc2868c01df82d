"""What a request says to the gate itself: its headers looked through once, values taken when they are asked for."""

import re
from typing import Final

from starlette.types import Scope

from retainer.protocol.constants import (
    HEADER_CREDENTIAL,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_MAX_UNITS,
    HEADER_SESSION,
    SCHEME,
)
from retainer.protocol.problems import ProblemType
from retainer_provider.sessions.refusals import refuse
from retainer_provider.tariffs import said_units

_CREDENTIAL: Final = HEADER_CREDENTIAL.lower().encode()
_KEY_NAME: Final = HEADER_IDEMPOTENCY_KEY.lower().encode()
_MAX_UNITS: Final = HEADER_MAX_UNITS.lower().encode()
_SESSION: Final = HEADER_SESSION.lower().encode()
_LENGTH: Final = b"content-length"
_ENCODING: Final = b"transfer-encoding"
_READ: Final = frozenset({_CREDENTIAL, _KEY_NAME, _MAX_UNITS, _SESSION, _LENGTH, _ENCODING})
_PAYMENT: Final = SCHEME.lower().encode()
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}\Z")
_UNFRAMED: Final = frozenset({"1.0", "1.1"})


class Head:
    """The head of one request."""

    __slots__ = ("_found", "_version")

    def __init__(self, scope: Scope) -> None:
        self._version: str = scope.get("http_version", "")
        self._found: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            lower = name.lower()  # servers do that, but not everything that calls an ASGI app is one
            if lower in _READ:
                self._found.setdefault(lower, []).append(value)

    def payment(self) -> bytes | None:
        """The value of its Payment credential, None when it has none; RefusedError for several of whatever scheme."""
        found = self._found.get(_CREDENTIAL)
        if found is None:
            return None
        if len(found) > 1:
            raise refuse(ProblemType.REQUEST_MALFORMED, "There is more than one Authorization header: send one.")
        return found[0] if found[0].partition(b" ")[0].lower() == _PAYMENT else None

    def key(self) -> str | None:
        """Its Idempotency-Key, None when it has none; RefusedError for what is no key."""
        found = self._found.get(_KEY_NAME)
        if found is None:
            return None
        if len(found) > 1 or not _KEY.match(found[0]):
            raise refuse(
                ProblemType.REQUEST_MALFORMED,
                f"{HEADER_IDEMPOTENCY_KEY} must be one value of 1 to 255 visible ASCII characters: send a random one.",
            )
        return found[0].decode("ascii")

    def max_units(self) -> int | None:
        """The most units that the client sends it for, where it says so; RefusedError for what is no number."""
        found = self._found.get(_MAX_UNITS)
        if found is None:
            return None
        units = said_units(found[0].decode("latin-1"))
        if len(found) > 1 or units is None:
            raise refuse(
                ProblemType.REQUEST_MALFORMED, f"{HEADER_MAX_UNITS} must be one whole number of units: correct it."
            )
        return units

    def session(self) -> str | None:
        """The session that it would like to go on with."""
        found = self._found.get(_SESSION)
        return None if found is None else found[0].decode("latin-1")

    def length(self) -> int:
        """The bytes of body that it announces; 0 where it does not say."""
        found = self._found.get(_LENGTH)
        return int(found[0]) if found is not None and found[0].isdigit() else 0

    @property
    def bodiless(self) -> bool:
        """Whether it can have no body, so that there is nothing to wait for (RFC 9112 section 6.3)."""
        return self._version in _UNFRAMED and _LENGTH not in self._found and _ENCODING not in self._found


def idempotency_key(scope: Scope) -> str | None:
    """A request's own key, None when it has none; RefusedError for what is no key."""
    return Head(scope).key()
