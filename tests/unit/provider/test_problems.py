import json

import pytest
from starlette.types import Message

from retainer.protocol.challenges import Challenge, challenge_header
from retainer.protocol.problems import ProblemType, parse_problem
from retainer_provider.sessions.refusals import Refusal
from retainer_provider.wire.answers import Answer, send_answer
from retainer_provider.wire.failures import UpstreamFailure
from retainer_provider.wire.problems import broken_term, failure_answer, needs_challenge, problem_answer

CHALLENGE = Challenge(id="i", realm="shop.test", method="solana", intent="session", request="e30")


@pytest.mark.parametrize("problem", list(ProblemType))
def test_every_problem_has_a_status_a_title_and_its_own_type(problem: ProblemType) -> None:
    answer = problem_answer(Refusal(problem, "Do this.", retry_after=3, extra={"sessionId": "S"}), CHALLENGE)
    shown = parse_problem(answer.body)
    assert (shown.type, shown.detail, shown.status) == (problem, "Do this.", answer.status)
    assert shown.title
    assert shown.extra == {"sessionId": "S"}
    assert 400 <= answer.status < 600
    headers = dict(answer.headers)
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert headers["www-authenticate"] == challenge_header(CHALLENGE)
    assert headers["retry-after"] == "3"
    assert "payment-receipt" not in headers


OF_PEOPLE = {
    "cross-site",
    "invoice-over",
    "invoice-unknown",
    "quick-session-archived",
    "quick-session-cards-full",
    "quick-session-id-collision",
    "quick-session-id-invalid",
    "quick-session-message-invalid",
    "quick-session-title-invalid",
    "quick-session-title-required",
    "quick-session-turns-full",
    "quick-session-unknown",
    "responder-unknown",
    "token-invalid",
    "wallet-mismatch",
    "funds-insufficient",
}
"""What the API for people answers beside them: its callers hold tokens, and no challenge helps them."""


def test_what_is_about_payment_is_402_and_goes_out_with_a_challenge_only() -> None:
    """The core draft's table of statuses."""
    others = {problem for problem in ProblemType if not needs_challenge(problem)}
    assert {problem.rpartition(":")[2].rpartition("/")[2] for problem in others} == OF_PEOPLE | {
        "method-unsupported",
        "deposit-replayed",
        "idempotency-conflict",
        "request-in-flight",
        "body-too-large",
        "body-too-slow",
        "head-too-large",
        "too-many-requests",
        "service-busy",
        "upstream-unavailable",
        "chain-unavailable",
        "service-unavailable",
        "request-malformed",
        "route-unknown",
    }
    assert all(problem_answer(Refusal(problem, "."), None).status == 402 for problem in set(ProblemType) - others)


@pytest.mark.parametrize(
    ("failure", "status", "term"),
    [
        (UpstreamFailure.UNREACHABLE, 502, "accepted_statuses"),
        (UpstreamFailure.BROKEN, 502, "accepted_statuses"),
        (UpstreamFailure.TOO_LARGE, 502, "accepted_statuses"),
        (UpstreamFailure.TIMEOUT, 504, "max_latency_ms"),
    ],
)
def test_an_upstream_that_gave_nothing_breaks_a_term(failure: UpstreamFailure, status: int, term: str) -> None:
    answer = failure_answer(failure)
    assert (answer.status, broken_term(failure)) == (status, term)
    assert json.loads(answer.body)["type"] == ProblemType.UPSTREAM_UNAVAILABLE


@pytest.mark.parametrize(
    ("answer", "method", "length", "body"),
    [
        (Answer(200, (), b"four"), "GET", ["4"], b"four"),
        (Answer(200, (("content-length", "9"),), b"four"), "GET", ["4"], b"four"),
        (Answer(200, (), b""), "GET", ["0"], b""),
        (Answer(200, (("content-length", "9"),), b""), "HEAD", ["9"], b""),
        (Answer(402, (), b"four"), "HEAD", ["4"], b""),
        (Answer(304, (("content-length", "9"),), b""), "GET", ["9"], b""),
        (Answer(204, (), b""), "GET", [], b""),
        (Answer(204, (("content-length", "0"),), b""), "GET", [], b""),
    ],
)
async def test_an_answer_is_framed_for_its_method(answer: Answer, method: str, length: list[str], body: bytes) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await send_answer(send, answer, method)
    start, content = sent
    assert [value.decode() for name, value in start["headers"] if name == b"content-length"] == length
    assert content["body"] == body
