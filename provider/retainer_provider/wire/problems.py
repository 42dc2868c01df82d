"""Every status code this service decides on, and the problem documents (RFC 9457) that go with them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from retainer.protocol.challenges import Challenge, challenge_header
from retainer.protocol.encoding import Json
from retainer.protocol.problems import MEDIA_TYPE, Problem, ProblemType
from retainer_provider.sessions.refusals import Refusal
from retainer_provider.wire.answers import Answer, json_answer
from retainer_provider.wire.failures import UpstreamFailure

STATUS_OK: Final = 200
STATUS_CREATED: Final = 201
STATUS_ACCEPTED: Final = 202  # a close that the chain has not finished yet
STATUS_NOT_MODIFIED: Final = 304
STATUS_RECEIPT_ONLY: Final = 204  # a replay of an answer too large to be kept
STATUS_INTERNAL: Final = 500
STATUS_UNHEALTHY: Final = 503
_PAYMENT_REQUIRED: Final = 402
_TIMEOUT: Final = 504

# The core draft answers everything about payment with 402; what is no matter of payment has its usual code.
_PROBLEMS: Final[Mapping[ProblemType, tuple[int, str]]] = MappingProxyType(
    {
        ProblemType.PAYMENT_REQUIRED: (402, "Payment required"),
        ProblemType.MALFORMED_CREDENTIAL: (402, "Malformed credential"),
        ProblemType.INVALID_CHALLENGE: (402, "Invalid challenge"),
        ProblemType.VERIFICATION_FAILED: (402, "Verification failed"),
        ProblemType.METHOD_UNSUPPORTED: (400, "Payment method not supported"),
        ProblemType.CHALLENGE_EXPIRED: (402, "Challenge expired"),
        ProblemType.DEPOSIT_UNCONFIRMED: (402, "Deposit not confirmed yet"),
        ProblemType.DEPOSIT_FAILED: (402, "Deposit failed"),
        ProblemType.DEPOSIT_FOREIGN: (402, "Deposit is of another program or token"),
        ProblemType.DEPOSIT_REPLAYED: (409, "Deposit was used before"),
        ProblemType.DEPOSIT_TOO_SMALL: (402, "Deposit too small"),
        ProblemType.DEPOSIT_TERMS_MISMATCH: (402, "Deposit was made on other terms"),
        ProblemType.DEPOSIT_WRONG_RECIPIENT: (402, "Deposit is for another recipient"),
        ProblemType.SESSION_UNKNOWN: (402, "Session unknown"),
        ProblemType.SESSION_DEPLETED: (402, "Session depleted"),
        ProblemType.SESSION_EXPIRED: (402, "Session expired"),
        ProblemType.SESSION_CLOSING: (402, "Session is closing"),
        ProblemType.SESSION_CLOSED: (402, "Session closed"),
        ProblemType.UNITS_NEEDED: (402, "The request may cost more units"),
        ProblemType.UNITS_EXHAUSTED: (402, "The stream has used all units reserved for it"),
        ProblemType.IDEMPOTENCY_CONFLICT: (422, "Idempotency-Key used for another request"),
        ProblemType.REQUEST_IN_FLIGHT: (409, "Request is still running"),
        ProblemType.FREE_ANSWERS_EXHAUSTED: (402, "Free answers exhausted"),
        ProblemType.BODY_TOO_LARGE: (413, "Request body too large"),
        ProblemType.BODY_TOO_SLOW: (408, "Request body too slow"),
        ProblemType.HEAD_TOO_LARGE: (431, "Request head too large"),
        ProblemType.TOO_MANY_REQUESTS: (429, "Too many requests"),
        ProblemType.SERVICE_BUSY: (503, "Service busy"),
        ProblemType.UPSTREAM_UNAVAILABLE: (502, "Upstream gave no answer"),
        ProblemType.CHAIN_UNAVAILABLE: (503, "Chain unavailable"),
        ProblemType.SERVICE_UNAVAILABLE: (503, "Service unavailable"),
        ProblemType.TOKEN_INVALID: (401, "Session token needed"),
        ProblemType.CROSS_SITE: (403, "Called by another site"),
        ProblemType.INVOICE_UNKNOWN: (404, "Invoice unknown"),
        ProblemType.INVOICE_OVER: (409, "Invoice is over"),
        ProblemType.WALLET_MISMATCH: (409, "Invoice is for another wallet"),
        ProblemType.FUNDS_INSUFFICIENT: (409, "The wallet has not enough"),
        ProblemType.FREE_QUOTA_EXHAUSTED: (402, "Free asks used up"),
        ProblemType.REQUEST_MALFORMED: (400, "Malformed request"),
        ProblemType.ROUTE_UNKNOWN: (404, "Nothing here"),
        ProblemType.QUICK_SESSION_UNKNOWN: (404, "No such card"),
        ProblemType.QUICK_SESSION_ID_INVALID: (400, "Not a card's id"),
        ProblemType.QUICK_SESSION_ID_COLLISION: (503, "No free id for a card"),
        ProblemType.QUICK_SESSION_ARCHIVED: (409, "Card is archived"),
        ProblemType.QUICK_SESSION_TITLE_REQUIRED: (409, "Card needs a title"),
        ProblemType.QUICK_SESSION_TITLE_INVALID: (400, "Not a title"),
        ProblemType.QUICK_SESSION_MESSAGE_INVALID: (400, "Not a message"),
        ProblemType.QUICK_SESSION_CARDS_FULL: (409, "No room for another card"),
        ProblemType.QUICK_SESSION_TURNS_FULL: (429, "Too many turns wait"),
        ProblemType.RESPONDER_UNKNOWN: (404, "No such responder"),
    }
)

_FAILURES: Final[Mapping[UpstreamFailure, tuple[int, str]]] = MappingProxyType(
    {
        UpstreamFailure.UNREACHABLE: (502, "The upstream could not be reached"),
        UpstreamFailure.BROKEN: (502, "The upstream broke off before its answer was complete"),
        UpstreamFailure.TOO_LARGE: (502, "The upstream's answer is larger than this service passes on"),
        UpstreamFailure.TIMEOUT: (_TIMEOUT, "The upstream did not finish its answer in time"),
    }
)


def needs_challenge(problem: ProblemType) -> bool:
    """Whether the status may not go out without a challenge (core draft: no 402 without one)."""
    return _PROBLEMS[problem][0] == _PAYMENT_REQUIRED


def problem_answer(refusal: Refusal, challenge: Challenge | None) -> Answer:
    """A refusal as it goes out: never cached, no receipt, and with a challenge to start afresh."""
    status, title = _PROBLEMS[refusal.problem]
    problem = Problem(refusal.problem, title, refusal.detail, status, refusal.extra)
    answer = json_answer(status, problem.to_json(), MEDIA_TYPE)
    if challenge is not None:
        answer = answer.with_headers(("www-authenticate", challenge_header(challenge)))
    if refusal.retry_after is not None:
        answer = answer.with_headers(("retry-after", str(refusal.retry_after)))
    return replace(answer, outcome=refusal.problem.name.lower())


def failure_answer(failure: UpstreamFailure) -> Answer:
    """What is answered for an upstream that gave nothing: uncharged, so it does carry a receipt."""
    status, detail = _FAILURES[failure]
    title = _PROBLEMS[ProblemType.UPSTREAM_UNAVAILABLE][1]
    detail = f"{detail}. Nothing was charged: try again, with a new Idempotency-Key."
    return json_answer(status, Problem(ProblemType.UPSTREAM_UNAVAILABLE, title, detail, status).to_json(), MEDIA_TYPE)


def stream_problem(problem: ProblemType, detail: str) -> dict[str, Json]:
    """What the last event of a stream says that ends before its time."""
    status, title = _PROBLEMS[problem]
    return Problem(problem, title, detail, status).to_json()


def broken_term(failure: UpstreamFailure) -> str:
    """The SLA term that a failure breaks, whatever the offer's own terms are."""
    return "max_latency_ms" if failure is UpstreamFailure.TIMEOUT else "accepted_statuses"
