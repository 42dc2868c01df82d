"""Session tokens: who has one acts for one session. The books keep digests only: who reads them can act for none."""

import hashlib
import re
import secrets
from typing import Final

_BYTES: Final = 32
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9_-]{43})\Z", re.ASCII | re.IGNORECASE)


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(_BYTES)


def digest(token: str) -> str:
    """What the books know it by. The token has all its entropy itself: no salt, no stretching."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer(value: str) -> str | None:
    """The token of an `Authorization` value; None for anything that cannot be one."""
    found = _BEARER.match(value)
    return found[1] if found else None
