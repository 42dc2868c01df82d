"""Header hygiene between client, gate and upstream: what is forwarded, what is dropped, what is added."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from starlette.types import Scope

from retainer.protocol.constants import HEADER_RECEIPT, HEADER_UNITS, SCHEME

Headers = Sequence[tuple[str, str]]
"""Names and values as text (latin-1), in order, repeated where they were."""

RawHeaders = Iterable[tuple[bytes, bytes]]

_SESSION: Final = b"x-retainer-session"

# RFC 9110 section 7.6.1: these are about one connection, not about the message.
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# A bearer proof must not reach the upstream, and only the gate speaks of sessions and payments (F22, F27).
_NEVER_TO_UPSTREAM: Final = (b"payment-", b"x-retainer-", b"retainer-")
# Of a body that is sent on whole, whatever it came in.
_FRAMING: Final = frozenset({"content-length", "expect"})
_UNITS: Final = HEADER_UNITS.lower()
_NEVER_TO_CLIENT: Final = _HOP_BY_HOP | {
    HEADER_RECEIPT.lower(),
    "cache-control",
    "expires",
    "pragma",
    "date",
    "server",
}
_CREDENTIALS: Final = b"authorization"
_CONNECTION: Final = b"connection"
_PAYMENT: Final = f"{SCHEME.lower()} ".encode()


def decode(headers: RawHeaders) -> list[tuple[str, str]]:
    """ASGI's bytes as text, names in lower case."""
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]


def encode(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Text as ASGI's bytes."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def values(headers: RawHeaders, name: str) -> list[str]:
    """All values of one header, in order."""
    wanted = _wanted(name)
    return [value.decode("latin-1") for header, value in headers if header == wanted or header.lower() == wanted]


@cache
def _wanted(name: str) -> bytes:
    return name.lower().encode("latin-1")


def end_to_end(headers: Headers) -> list[tuple[str, str]]:
    """Without the headers that concern one connection, those named by `Connection` included."""
    dropped = _HOP_BY_HOP | _named_by(value for name, value in headers if name.lower() == "connection")
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def told_upstream(scope: Scope, *, session_id: str | None, body_length: int | None, plain: bool = False) -> Scope:
    """The request as the upstream gets it: as it came, but for its headers, see `to_upstream`."""
    forwarded = to_upstream(scope["headers"], session_id=session_id, body_length=body_length, plain=plain)
    return {**scope, "headers": forwarded}


def to_upstream(
    headers: RawHeaders, *, session_id: str | None, body_length: int | None, plain: bool = False
) -> list[tuple[bytes, bytes]]:
    """What the upstream gets to see of a request; `body_length` replaces the framing of a body already read.

    `plain`: the answer is to be read here, so it must not be compressed.
    """
    dropped = _not_for_upstream(read=body_length is not None, plain=plain, sold=session_id is not None)
    kept, named = [], []
    for name, value in headers:
        lower = name.lower()
        if lower == _CONNECTION:
            named.append(value.decode("latin-1"))
        elif not (
            lower in dropped
            or lower.startswith(_NEVER_TO_UPSTREAM)
            or (lower == _CREDENTIALS and value.strip().lower().startswith(_PAYMENT))
        ):
            kept.append((lower, value))
    if named:
        by_connection = {name.encode("latin-1") for name in _named_by(named)}
        kept = [entry for entry in kept if entry[0] not in by_connection]
    if body_length:
        kept.append((b"content-length", b"%d" % body_length))
    if plain:
        kept.append((b"accept-encoding", b"identity"))
    if session_id is not None:
        kept.append((_SESSION, session_id.encode()))
    return kept


def from_upstream(headers: RawHeaders) -> tuple[tuple[tuple[str, str], ...], str | None]:
    """What the client gets to see of the upstream's answer, as text with names in lower case; and its units header.

    Caching is the gate's to decide (F22).
    """
    kept, named, units = [], [], None
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "connection":
            named.append(value)
        elif name == _UNITS:
            units = value
        elif name not in _NEVER_TO_CLIENT and (name != "www-authenticate" or not _is_payment(value)):
            kept.append((name, value))
    if named:
        by_connection = _named_by(named)
        kept = [entry for entry in kept if entry[0] not in by_connection]
    return tuple(kept), units


@cache
def _not_for_upstream(*, read: bool, plain: bool, sold: bool) -> frozenset[bytes]:
    dropped = set(_HOP_BY_HOP)
    if read:
        dropped |= _FRAMING
    if plain:
        dropped.add("accept-encoding")
    if sold:
        dropped.add("authorization")
    return frozenset(name.encode() for name in dropped)


def _named_by(connection: Iterable[str]) -> frozenset[str]:
    return frozenset(token.strip().lower() for value in connection for token in value.split(","))


def _is_payment(challenge: str) -> bool:
    return challenge.strip().lower().startswith(f"{SCHEME.lower()} ")
