"""The usage log: one entry per metered request, chained by hashes, whose head a `close` commits on chain."""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.encoding import Json, canonical_text
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields

EMPTY_ROOT: Final = bytes(32)

_DOMAIN: Final = b"retainer-usage-v1"


class UsageEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One metered request. ``cumulative`` is what the session has spent after it; digests are hexadecimal SHA-256.

    ``schema_ok`` says whether the body fitted the agreed JSON Schema; it is left out where none was agreed or applied.
    The log goes to auditors, so it holds digests of the Idempotency-Key, the request and the response, not their text.
    """

    sequence: int
    timestamp_ms: int
    key_digest: str | None
    method: str
    target: str
    request_digest: str
    response_digest: str
    status: int
    latency_ms: int
    body_bytes: int
    charged: bool
    term: str | None
    units: int
    amount: BaseUnits
    cumulative: BaseUnits
    schema_ok: bool | None = None

    def to_json(self) -> dict[str, Json]:
        """The entry as a log line holds it."""
        line: dict[str, Json] = msgspec.to_builtins(_line(self))
        return line

    @classmethod
    def from_json(cls, value: object) -> "UsageEntry":
        """Read ``to_json``'s form; MessageError names the bad field.

        An unknown member is refused: the hash covers only what is known here, and must cover all that is shown.
        """
        entry = Fields(value, "usage")
        read = cls(
            sequence=entry.require("sequence", fields.integer()),
            timestamp_ms=entry.require("timestampMs", fields.integer()),
            key_digest=entry.optional("keyDigest", fields.hex_digest),
            method=entry.require("method", fields.filled_text),
            target=entry.require("target", fields.text),
            request_digest=entry.require("requestDigest", fields.hex_digest),
            response_digest=entry.require("responseDigest", fields.hex_digest),
            status=entry.require("status", fields.integer(100, 599)),
            latency_ms=entry.require("latencyMs", fields.integer()),
            body_bytes=entry.require("bodyBytes", fields.integer()),
            charged=entry.require("charged", fields.flag),
            term=entry.optional("term", fields.filled_text),
            units=entry.require("units", fields.units),
            amount=entry.require("amount", fields.units),
            cumulative=entry.require("cumulative", fields.units),
            schema_ok=entry.optional("schemaOk", fields.flag),
        )
        entry.only(*read.to_json())
        return read


class _Line(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """An entry as JSON: members in RFC 8785's order, those that are None left out."""

    amount: str
    body_bytes: int
    charged: bool
    cumulative: str
    key_digest: str | None = None
    latency_ms: int
    method: str
    request_digest: str
    response_digest: str
    schema_ok: bool | None = None
    sequence: int
    status: int
    target: str
    term: str | None = None
    timestamp_ms: int
    units: str


def _line(entry: UsageEntry) -> _Line:
    return _Line(
        amount=str(entry.amount),
        body_bytes=entry.body_bytes,
        charged=entry.charged,
        cumulative=str(entry.cumulative),
        key_digest=entry.key_digest,
        latency_ms=entry.latency_ms,
        method=entry.method,
        request_digest=entry.request_digest,
        response_digest=entry.response_digest,
        schema_ok=entry.schema_ok,
        sequence=entry.sequence,
        status=entry.status,
        target=entry.target,
        term=entry.term,
        timestamp_ms=entry.timestamp_ms,
        units=str(entry.units),
    )


def entry_json(entry: UsageEntry) -> bytes:
    """The entry's canonical JSON, which the chain covers."""
    return canonical_text(_line(entry))


def hash_after(previous: bytes, entry: bytes) -> bytes:
    """The head after an ``entry_json``: SHA-256 of a domain, the 32 bytes of the head before it, and the entry."""
    if len(previous) != len(EMPTY_ROOT):
        raise MessageError(f"the head of a usage chain has {len(EMPTY_ROOT)} bytes, not {len(previous)}")
    return hashlib.sha256(_DOMAIN + previous + entry).digest()


def chain_hash(previous: bytes, entry: UsageEntry) -> bytes:
    """The head after ``entry``, by the head before it."""
    return hash_after(previous, entry_json(entry))


def usage_root(entries: Iterable[UsageEntry]) -> bytes:
    """The head after all ``entries``; 32 zero bytes when there are none."""
    head = EMPTY_ROOT
    for entry in entries:
        head = chain_hash(head, entry)
    return head


def text_digest(text: str) -> str:
    """Hexadecimal SHA-256 of a text, as for ``key_digest``."""
    return hashlib.sha256(text.encode()).hexdigest()
