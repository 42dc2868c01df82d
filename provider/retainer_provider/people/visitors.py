"""Whom free asks are counted for: an anonymous signed cookie, and the address. Pure. A courtesy, no wall."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from retainer.protocol.encoding import encode_base64url

COOKIE: Final = "retainer_visitor"
_BYTES: Final = 16
_YEAR: Final = 31_536_000
_TOGETHER_SECONDS: Final = 60


def new_visitor(key: bytes, address: str, agent: str, now: int) -> str:
    """A cookie's value, signed, so that nobody makes up visitors without asking here.

    Calls of one browser that are under way before it has its cookie, as of two tabs that open together, are given the
    same one: by `address`, the browser's name for itself (`agent`) and the time, which without the key tell nothing.
    """
    first_met = f"first met\0{address}\0{agent}\0{now // _TOGETHER_SECONDS}"
    identity = encode_base64url(hmac.digest(key, first_met.encode(), hashlib.sha256)[:_BYTES])
    return f"{identity}.{_mac(key, 'visitor', identity)}"


def known_visitor(cookies: str, keys: Sequence[bytes]) -> str | None:
    """The visitor of a `Cookie` header's value, if this service made it."""
    for part in cookies.split(";"):
        name, _, value = part.strip().partition("=")
        identity, _, mac = value.partition(".")
        if name == COOKIE and any(
            hmac.compare_digest(_mac(key, "visitor", identity).encode(), mac.encode()) for key in keys
        ):
            return value
    return None


def set_cookie(value: str, *, path: str, secure: bool) -> str:
    """The `Set-Cookie` value: no script reads it, no other site's page sends it."""
    return f"{COOKIE}={value}; Path={path}; Max-Age={_YEAR}; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")


def counted_as(key: bytes, what: str, value: str) -> str:
    """What the books call a visitor or an address: whoever reads them learns no address."""
    return _mac(key, f"count {what}", value)


def _mac(key: bytes, purpose: str, value: str) -> str:
    return encode_base64url(hmac.digest(key, f"retainer {purpose}\0{value}".encode(), hashlib.sha256))
