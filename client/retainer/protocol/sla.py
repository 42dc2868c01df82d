"""SLA terms: what an answer must be to cost anything, their hash as committed on chain, and the judgement."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPMethod, HTTPStatus
from typing import Final

from retainer.protocol import fields
from retainer.protocol.availability import Availability
from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.encoding import Json, canonical_json
from retainer.protocol.errors import MessageError, TermsError
from retainer.protocol.fields import Fields
from retainer.protocol.response_schema import canonical_schema

SLA_VERSION: Final = "1"
NO_TERMS_HASH: Final = bytes(32)

_STATUS_PATTERN: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class SlaTerms:
    """An answer that misses a term is free.

    ``accepted_statuses`` holds codes ("200") and classes ("2xx"). The default accepts 4xx: it is the agent's own
    doing, and an agent that could ask for it free of charge would. ``response_schema`` is the canonical text of a JSON
    Schema that a body must fit. ``availability`` frees no answer: it is about all of a session's.
    """

    max_latency_ms: int | None = None
    accepted_statuses: tuple[str, ...] = ("2xx", "3xx", "4xx")
    min_body_bytes: int = 0
    response_schema: str | None = None
    availability: Availability | None = None

    def __post_init__(self) -> None:
        if self.max_latency_ms is not None and not 0 < self.max_latency_ms <= JSON_INTEGER_MAX:
            raise TermsError("max_latency_ms must be at least 1 millisecond")
        if not 0 <= self.min_body_bytes <= JSON_INTEGER_MAX:
            raise TermsError("min_body_bytes must not be negative")
        if not self.accepted_statuses:
            raise TermsError("accepted_statuses must name at least one status, else nothing is ever charged")
        for entry in self.accepted_statuses:
            if not _STATUS_PATTERN.match(entry):
                raise TermsError(f'accepted_statuses holds codes like "200" and classes like "2xx", not {entry!r}')
        if len(set(self.accepted_statuses)) != len(self.accepted_statuses):
            raise TermsError("accepted_statuses names a status twice")
        if self.response_schema is not None and canonical_schema(_parsed(self.response_schema)) != self.response_schema:
            raise TermsError("response_schema must be canonical JSON text: make it with `canonical_schema`")

    def to_json(self) -> dict[str, Json]:
        """The canonical object; statuses sorted, so that equal terms have equal bytes; what is not agreed left out."""
        return fields.present(
            {
                "version": SLA_VERSION,
                "maxLatencyMs": self.max_latency_ms,
                "acceptedStatuses": [*sorted(self.accepted_statuses)],
                "minBodyBytes": self.min_body_bytes,
                "responseSchema": None if self.response_schema is None else _parsed(self.response_schema),
                "availability": None if self.availability is None else self.availability.to_json(),
            }
        )

    @classmethod
    def from_json(cls, value: object, path: str = "slaTerms") -> "SlaTerms":
        """Read ``to_json``'s form; MessageError names the bad field.

        Unlike elsewhere, an unknown member is refused: terms nobody here can judge must not be agreed to.
        """
        terms = Fields(value, path)
        terms.require("version", fields.exactly(SLA_VERSION))
        terms.only("version", "maxLatencyMs", "acceptedStatuses", "minBodyBytes", "responseSchema", "availability")
        availability = terms.inside_optional("availability")
        try:
            return cls(
                max_latency_ms=terms.optional("maxLatencyMs", fields.integer(1)),
                accepted_statuses=terms.require("acceptedStatuses", fields.list_of(fields.text)),
                min_body_bytes=terms.require("minBodyBytes", fields.integer(0)),
                response_schema=terms.optional("responseSchema", canonical_schema),
                availability=None if availability is None else Availability.from_json(availability),
            )
        except TermsError as error:
            raise MessageError(f"{path}: {error}") from None

    def canonical_bytes(self) -> bytes:
        """RFC 8785 JSON of the terms."""
        return canonical_json(self.to_json())

    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes: the ``sla_hash`` that a session commits to."""
        return hashlib.sha256(self.canonical_bytes()).digest()


def terms_hash(terms: SlaTerms | None) -> bytes:
    """The hash to commit: 32 zero bytes where there are no terms."""
    return NO_TERMS_HASH if terms is None else terms.hash()


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer as measured: from the request fully read to the upstream's last byte.

    ``schema_ok`` says whether the body fits the agreed schema, None where it was not held against one.
    """

    status: int
    latency_ms: int
    body_bytes: int
    method: str
    schema_ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which term was broken (its name as in ``SlaTerms``) and how; no term when the answer is to be charged."""

    term: str | None = None
    detail: str = ""

    @property
    def breached(self) -> bool:
        """Whether the answer is free."""
        return self.term is not None


KEPT: Final = Verdict()


def judge(terms: SlaTerms | None, observation: Observation) -> Verdict:
    """Hold one answer against the terms; the first broken of status, latency, length and schema is named."""
    if terms is None:
        return KEPT
    status, latency, body = observation.status, observation.latency_ms, observation.body_bytes
    if not _accepted(terms.accepted_statuses, status):
        return Verdict("accepted_statuses", f"status {status}, accepted are {', '.join(terms.accepted_statuses)}")
    if terms.max_latency_ms is not None and latency > terms.max_latency_ms:
        return Verdict("max_latency_ms", f"{latency} ms, at most {terms.max_latency_ms} agreed")
    if body < terms.min_body_bytes and owes_body(observation.method, status):
        return Verdict("min_body_bytes", f"{body} bytes, at least {terms.min_body_bytes} agreed")
    # Not held against the schema is as good as not fitting: else leaving the check out would make answers cost.
    if terms.response_schema is not None and not observation.schema_ok and owes_body(observation.method, status):
        return Verdict("response_schema", "the body does not fit the JSON Schema agreed")
    return KEPT


# Few terms and few statuses meet, each request anew.
@lru_cache(maxsize=1_024)
def _accepted(accepted: tuple[str, ...], status: int) -> bool:
    # A 304 stands for the 200 that the agent asked to be spared, so it is accepted wherever that is.
    codes = (status, HTTPStatus.OK) if status == HTTPStatus.NOT_MODIFIED else (status,)
    return any(str(int(code)) in accepted or f"{code // 100}xx" in accepted for code in codes)


def owes_body(method: str, status: int) -> bool:
    """Whether terms about the body apply to an answer.

    What an agent can bring about at will (HEAD, conditional and wrong requests) must not earn it free answers.
    """
    return (
        method.upper() != HTTPMethod.HEAD
        and status != HTTPStatus.NOT_MODIFIED
        and not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    )


def _parsed(schema: str) -> Json:
    try:
        return json.loads(schema)  # type: ignore[no-any-return]  # Json by construction
    except ValueError:
        raise TermsError("response_schema is not JSON") from None
