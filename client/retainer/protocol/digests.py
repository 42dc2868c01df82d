"""What was asked and answered, as digests: receipts, usage entries and idempotency compare these on both sides."""

import hashlib
from typing import Final

from retainer.protocol.encoding import canonical_json

_DOMAIN: Final = b"retainer-request-v1"


def request_digest(method: str, target: str, body: bytes) -> bytes:
    """The 32 bytes that stand for one request.

    ``target`` is path and query exactly as sent, percent-encoding untouched: normalizing it would let two requests
    that an upstream tells apart pass for the same one (F19).
    """
    return hashlib.sha256(
        _DOMAIN + canonical_json({"method": method.upper(), "target": target, "body": body_digest(body).hex()})
    ).digest()


def body_digest(body: bytes) -> bytes:
    """The 32 bytes that stand for a body, as it travels (with its content encoding)."""
    return hashlib.sha256(body).digest()
