"""What was asked and answered, as digests: receipts, usage entries and idempotency compare these on both sides."""

import hashlib
from functools import lru_cache
from typing import Final

from retainer.protocol.encoding import canonical_json

_DOMAIN: Final = b"retainer-request-v1"
# The canonical text of a request begins with its body's digest, so that all of the rest is one piece.
_BODY: Final = b'{"body":"'
# Longer targets are worked out anew: those that are remembered must not take much memory.
_SHORT: Final = 256


def request_digest(method: str, target: str, body: bytes) -> bytes:
    """The 32 bytes that stand for one request: over the canonical JSON of its body's digest, method and target.

    ``target`` is path and query exactly as sent, percent-encoding untouched: normalizing it would let two requests
    that an upstream tells apart pass for the same one (F19).
    """
    if len(target) > _SHORT:
        return _digest(body, _rest(method, target))
    return _digest(body, _remembered_rest(method, target)) if body else _bodiless(method, target)


def body_digest(body: bytes) -> bytes:
    """The 32 bytes that stand for a body, as it travels (with its content encoding)."""
    return hashlib.sha256(body).digest()


def _digest(body: bytes, rest: bytes) -> bytes:
    return hashlib.sha256(b"".join((_DOMAIN, _BODY, body_digest(body).hex().encode(), rest))).digest()


def _rest(method: str, target: str) -> bytes:
    return b'",' + canonical_json({"method": method.upper(), "target": target})[1:]


_remembered_rest = lru_cache(maxsize=1_024)(_rest)


# What has no body is one of few requests, each asked again and again.
@lru_cache(maxsize=1_024)
def _bodiless(method: str, target: str) -> bytes:
    return _digest(b"", _rest(method, target))
