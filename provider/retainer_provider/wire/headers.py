"""Header hygiene between client, gate and upstream: what is forwarded, what is dropped, what is added."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from retainer.protocol.constants import HEADER_RECEIPT, HEADER_UNITS, SCHEME

Headers = Sequence[tuple[str, str]]
"""Names and values as text (latin-1), in order, repeated where they were."""

RawHeaders = Iterable[tuple[bytes, bytes]]

SESSION_TO_UPSTREAM: Final = "x-retainer-session"

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
_NEVER_TO_UPSTREAM: Final = ("payment-", "x-retainer-", "retainer-")
# Of a body that is sent on whole, whatever it came in.
_FRAMING: Final = frozenset({"content-length", "expect"})
_NEVER_TO_CLIENT: Final = frozenset(
    {HEADER_RECEIPT.lower(), HEADER_UNITS.lower(), "cache-control", "expires", "pragma", "date", "server"}
)


def decode(headers: RawHeaders) -> list[tuple[str, str]]:
    """ASGI's bytes as text, names in lower case."""
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]


def encode(headers: Headers) -> list[tuple[bytes, bytes]]:
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
    named = {
        token.strip().lower() for name, value in headers if name.lower() == "connection" for token in value.split(",")
    }
    dropped = _HOP_BY_HOP | named
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def to_upstream(
    headers: RawHeaders, *, session_id: str | None, body_length: int | None, plain: bool = False
) -> list[tuple[bytes, bytes]]:
    """What the upstream gets to see of a request; `body_length` replaces the framing of a body already read.

    `plain`: the answer is to be read here, so it must not be compressed.
    """
    replaced = _FRAMING if body_length is not None else frozenset[str]()
    if plain:
        replaced = replaced | {"accept-encoding"}
    if session_id is not None:
        replaced = replaced | {"authorization"}
    kept = [
        (name, value)
        for name, value in end_to_end(decode(headers))
        if name not in replaced and not name.startswith(_NEVER_TO_UPSTREAM) and not _is_payment(name, value)
    ]
    if body_length:
        kept.append(("content-length", str(body_length)))
    if plain:
        kept.append(("accept-encoding", "identity"))
    if session_id is not None:
        kept.append((SESSION_TO_UPSTREAM, session_id))
    return encode(kept)


def to_client(headers: Headers) -> tuple[tuple[str, str], ...]:
    """What the client gets to see of the upstream's answer; caching is the gate's to decide (F22)."""
    return tuple(
        (name, value)
        for name, value in end_to_end(headers)
        if name not in _NEVER_TO_CLIENT and not (name == "www-authenticate" and _is_payment("authorization", value))
    )


def _is_payment(name: str, value: str) -> bool:
    return name == "authorization" and value.strip().lower().startswith(f"{SCHEME.lower()} ")
