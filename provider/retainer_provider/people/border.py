"""What comes in from browsers, checked in one place: whose page called, and what the body says."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from solders.pubkey import Pubkey
from solders.signature import Signature
from starlette.types import Receive, Scope

from retainer.protocol import fields
from retainer.protocol.constants import MAX_TRANSACTION_BYTES
from retainer.protocol.encoding import Json, read_json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields, FieldValueError
from retainer.protocol.problems import ProblemType
from retainer_provider.people.asking import Asked
from retainer_provider.sessions.refusals import refuse
from retainer_provider.wire import headers

T = TypeVar("T")

_SIGNATURE_BYTES: Final = 64
# JSON around a body that is sold: escapes make text longer, base64 by a third.
_AROUND: Final = 4
_ENVELOPE_BYTES: Final = 16_384
_OWN_SITE: Final = frozenset({"same-origin", "none"})


class ClientLeftError(Exception):
    """The client went away before its request was complete: nobody is left to answer."""


def require_same_origin(scope: Scope) -> None:
    """RefusedError where the browser says that another site's page made the call (no cookie is enough to act)."""
    site = headers.values(scope["headers"], "sec-fetch-site")
    origin = headers.values(scope["headers"], "origin")
    hosts = headers.values(scope["headers"], "host")
    foreign = bool(site) and site[0] not in _OWN_SITE
    # Behind a proxy the scheme may differ, the host is the one that the page was loaded from.
    if foreign or (not site and origin and urlsplit(origin[0]).netloc != (hosts[0] if hosts else "")):
        raise refuse(
            ProblemType.CROSS_SITE, "Another site's page made this call: open this service's own page, and try there."
        )


class Border:
    """Reads bodies of requests; `limit` is what a sold request's own body may have, in bytes, `seconds` its time."""

    def __init__(self, *, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds

    async def message(self, scope: Scope, receive: Receive) -> Fields:
        """The JSON object of a small message; a missing body is an empty one."""
        return _object(await self._read(scope, receive, _ENVELOPE_BYTES))

    async def asked(self, scope: Scope, receive: Receive) -> tuple[Asked, Fields]:
        """What a page wants to ask, and the object that said so."""
        said = _object(await self._read(scope, receive, self._limit * _AROUND + _ENVELOPE_BYTES))
        body = may(said, "body", fields.text) or ""
        packed = may(said, "encoding", fields.exactly("utf-8", "base64")) == "base64"
        content = need(said, "body", _base64(self._limit)) if packed and body else body.encode()
        if len(content) > self._limit:
            raise _too_large(self._limit)
        named = may(said, "headers", fields.text_map) or {}
        return Asked(
            need(said, "method", fields.filled_text), need(said, "path", fields.filled_text), named, content
        ), said

    async def _read(self, scope: Scope, receive: Receive, limit: int) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                return await _body(scope, receive, limit)
        except TimeoutError:
            raise refuse(
                ProblemType.BODY_TOO_SLOW, f"The body did not arrive within {self._seconds:g} s: send it faster."
            ) from None


def need(said: Fields, name: str, read: Callable[[object], T]) -> T:
    """One member of a message; RefusedError names it where it is missing or wrong."""
    try:
        return said.require(name, read)
    except MessageError as error:
        raise refuse(ProblemType.REQUEST_MALFORMED, f"{error}: correct it and send it again.") from None


def may(said: Fields, name: str, read: Callable[[object], T]) -> T | None:
    """The same of a member that may be left out."""
    return need(said, name, read) if name in said else None


def signature(value: object) -> Signature:
    """A wallet's signature, in standard base64."""
    return Signature.from_bytes(_base64(_SIGNATURE_BYTES, least=_SIGNATURE_BYTES)(value))


def transaction(value: object) -> bytes:
    """A transaction's wire bytes, in standard base64."""
    return _base64(MAX_TRANSACTION_BYTES)(value)


def wallet(value: object) -> Pubkey:
    """A wallet's address: a point on the curve, since it has to sign."""
    key = fields.pubkey(value)
    if not key.is_on_curve():
        raise FieldValueError("is no wallet: nobody can sign for this address")
    return key


def nonce(value: object) -> str:
    """A nonce as it was handed out."""
    return fields.filled_text(value)[:100]


def amount(value: object) -> int:
    """Base units above zero, as a decimal string."""
    units = fields.units(value)
    if units < 1:
        raise FieldValueError("must be above zero")
    return units


def _base64(most: int, least: int = 0) -> Callable[[object], bytes]:
    def read(value: object) -> bytes:
        try:
            decoded = base64.b64decode(fields.text(value), validate=True)
        except (binascii.Error, ValueError):
            raise FieldValueError("must be standard base64") from None
        if not least <= len(decoded) <= most:
            raise FieldValueError(f"must be {f'{least} to ' if least != most else ''}{most} bytes")
        return decoded

    return read


def _object(body: bytes) -> Fields:
    try:
        said: Json = read_json(body, "the body") if body else {}
        return Fields(said, "body")
    except MessageError as error:
        raise refuse(ProblemType.REQUEST_MALFORMED, f"{error}: send a JSON object.") from None


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    kinds = headers.values(scope["headers"], "content-type")
    declared = next(iter(headers.values(scope["headers"], "content-length")), "")
    body, length = bytearray(), int(declared) if declared.isascii() and declared.isdigit() else 0
    while True:
        if max(length, len(body)) > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        body += message.get("body", b"")
        if not message.get("more_body", False) and len(body) <= limit:
            # A form of another site can send text, but not this type without being asked first.
            if body and (not kinds or kinds[0].partition(";")[0].strip().lower() != "application/json"):
                raise refuse(ProblemType.REQUEST_MALFORMED, "Send the body as application/json.")
            return bytes(body)


def _too_large(limit: int) -> Exception:
    return refuse(ProblemType.BODY_TOO_LARGE, f"The body exceeds {limit} bytes: send a smaller one.")


def encode_transaction(raw: bytes) -> str:
    """As a wallet takes it: standard base64."""
    return base64.b64encode(raw).decode()
