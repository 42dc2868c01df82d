"""Problems (RFC 9457): every way a request is refused has its own type, so that a program can tell them apart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from retainer.protocol import fields
from retainer.protocol.encoding import Json, read_json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields

MEDIA_TYPE: Final = "application/problem+json"

_DRAFT: Final = "https://paymentauth.org/problems/"
_OWN: Final = "urn:retainer:problem:"
_MEMBERS: Final = frozenset({"type", "title", "detail", "status"})
_MAX_BYTES: Final = 65_536


class ProblemType(StrEnum):
    """The draft's types under its own base, retainer's as URNs: they name a problem and promise no web page."""

    PAYMENT_REQUIRED = _DRAFT + "payment-required"
    MALFORMED_CREDENTIAL = _DRAFT + "malformed-credential"
    INVALID_CHALLENGE = _DRAFT + "invalid-challenge"
    VERIFICATION_FAILED = _DRAFT + "verification-failed"
    METHOD_UNSUPPORTED = _DRAFT + "method-unsupported"

    CHALLENGE_EXPIRED = _OWN + "challenge-expired"

    DEPOSIT_UNCONFIRMED = _OWN + "deposit-unconfirmed"
    DEPOSIT_FAILED = _OWN + "deposit-failed"
    DEPOSIT_FOREIGN = _OWN + "deposit-foreign"
    DEPOSIT_REPLAYED = _OWN + "deposit-replayed"
    DEPOSIT_TOO_SMALL = _OWN + "deposit-too-small"
    DEPOSIT_TERMS_MISMATCH = _OWN + "deposit-terms-mismatch"
    DEPOSIT_WRONG_RECIPIENT = _OWN + "deposit-wrong-recipient"

    SESSION_UNKNOWN = _OWN + "session-unknown"
    SESSION_DEPLETED = _OWN + "session-depleted"
    SESSION_EXPIRED = _OWN + "session-expired"
    SESSION_CLOSING = _OWN + "session-closing"
    SESSION_CLOSED = _OWN + "session-closed"

    UNITS_NEEDED = _OWN + "units-needed"
    UNITS_EXHAUSTED = _OWN + "units-exhausted"

    IDEMPOTENCY_CONFLICT = _OWN + "idempotency-conflict"
    REQUEST_IN_FLIGHT = _OWN + "request-in-flight"
    FREE_ANSWERS_EXHAUSTED = _OWN + "free-answers-exhausted"
    BODY_TOO_LARGE = _OWN + "body-too-large"
    BODY_TOO_SLOW = _OWN + "body-too-slow"
    HEAD_TOO_LARGE = _OWN + "head-too-large"
    TOO_MANY_REQUESTS = _OWN + "too-many-requests"
    SERVICE_BUSY = _OWN + "service-busy"
    UPSTREAM_UNAVAILABLE = _OWN + "upstream-unavailable"
    CHAIN_UNAVAILABLE = _OWN + "chain-unavailable"
    SERVICE_UNAVAILABLE = _OWN + "service-unavailable"
    TOKEN_INVALID = _OWN + "token-invalid"
    CROSS_SITE = _OWN + "cross-site"
    INVOICE_UNKNOWN = _OWN + "invoice-unknown"
    INVOICE_OVER = _OWN + "invoice-over"
    WALLET_MISMATCH = _OWN + "wallet-mismatch"
    FUNDS_INSUFFICIENT = _OWN + "funds-insufficient"
    FREE_QUOTA_EXHAUSTED = _OWN + "free-quota-exhausted"

    REQUEST_MALFORMED = _OWN + "request-malformed"
    ROUTE_UNKNOWN = _OWN + "route-unknown"
    QUICK_SESSION_UNKNOWN = _OWN + "quick-session-unknown"
    QUICK_SESSION_ID_INVALID = _OWN + "quick-session-id-invalid"
    QUICK_SESSION_ID_COLLISION = _OWN + "quick-session-id-collision"
    QUICK_SESSION_ARCHIVED = _OWN + "quick-session-archived"
    QUICK_SESSION_TITLE_REQUIRED = _OWN + "quick-session-title-required"
    QUICK_SESSION_TITLE_INVALID = _OWN + "quick-session-title-invalid"
    QUICK_SESSION_MESSAGE_INVALID = _OWN + "quick-session-message-invalid"
    QUICK_SESSION_CARDS_FULL = _OWN + "quick-session-cards-full"
    QUICK_SESSION_TURNS_FULL = _OWN + "quick-session-turns-full"
    RESPONDER_UNKNOWN = _OWN + "responder-unknown"


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal; ``detail`` is a sentence that says what to do, ``extra`` holds members of the type's own."""

    type: ProblemType
    title: str
    detail: str
    status: int
    extra: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """The object of ``MEDIA_TYPE``; MessageError when an extra member would hide one of RFC 9457's."""
        if hidden := _MEMBERS & self.extra.keys():
            raise MessageError(f"a problem's own member cannot be called {', '.join(sorted(hidden))}")
        members: dict[str, Json] = {
            "type": str(self.type),
            "title": self.title,
            "detail": self.detail,
            "status": self.status,
        }
        return {**members, **self.extra}


def parse_problem(body: bytes) -> Problem:
    """Read a problem of a type known here; MessageError otherwise: nothing is guessed from a foreign error page."""
    if len(body) > _MAX_BYTES:
        raise MessageError(f"the problem is longer than {_MAX_BYTES} bytes")
    value = read_json(body, "the problem")
    problem = Fields(value, "problem")
    return Problem(
        type=problem.require("type", fields.member(ProblemType)),
        title=problem.require("title", fields.text),
        detail=problem.require("detail", fields.text),
        status=problem.require("status", fields.integer(400, 599)),
        extra={name: member for name, member in problem.items() if name not in _MEMBERS},
    )
