"""Reading answers: pauses, problems, receipts."""

import httpx
import pytest

from retainer.flows.answers import pause_asked, problem_of, receipt_of, words_of
from retainer.protocol.encoding import canonical_json
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import Problem, ProblemType


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("0", 0), ("2", 2), ("3600", 5), ("9" * 400, 5), ("-1", 1), ("1.5", 1), ("Fri, 31 Dec 1999 23:59:59 GMT", 1)],
)
def test_a_service_cannot_make_a_client_wait_for_long(asked: str, seconds: float) -> None:
    assert pause_asked(httpx.Response(503, headers={"Retry-After": asked})) == seconds


def test_without_a_word_the_pause_is_a_second() -> None:
    assert pause_asked(httpx.Response(503)) == pause_asked(None) == 1


def test_only_known_problems_of_error_answers_are_problems() -> None:
    body = canonical_json(Problem(ProblemType.SESSION_CLOSED, "Closed", "Open another one.", 402).to_json())
    known = httpx.Response(402, content=body)
    problem = problem_of(known)
    assert problem is not None
    assert (problem.type, words_of(known)) == (ProblemType.SESSION_CLOSED, "Open another one")
    for other in (httpx.Response(200, content=body), httpx.Response(402), httpx.Response(500, content=b"<html>")):
        assert problem_of(other) is None
    assert words_of(httpx.Response(418)) == "status 418"


def test_a_receipt_is_there_or_not_or_malformed() -> None:
    assert receipt_of(httpx.Response(200)) is None
    with pytest.raises(MessageError):
        receipt_of(httpx.Response(200, headers={"Payment-Receipt": "e30"}))
