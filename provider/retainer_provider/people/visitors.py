"""Whom free asks are counted for: an anonymous signed cookie, and the address. Pure. A courtesy, no wall."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from retainer.protocol.encoding import encode_base64url

COOKIE: Final = "retainer_visitor"
_BYTES: Final = 16
_YEAR: Final = 31_536_000


def new_visitor(key: bytes) -> str:
    """A cookie's value: random, and signed, so that nobody makes up visitors without asking here."""
    identity = secrets.token_urlsafe(_BYTES)
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
