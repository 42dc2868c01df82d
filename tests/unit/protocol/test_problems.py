import json
from typing import Any

import pytest

from retainer.protocol.encoding import canonical_json
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import Problem, ProblemType, parse_problem

PROBLEM = Problem(
    ProblemType.SESSION_DEPLETED, "Deposit used up", "Top up or open a new session.", 402, {"remaining": "0"}
)


def test_a_problem_comes_back_with_its_own_members() -> None:
    assert parse_problem(canonical_json(PROBLEM.to_json())) == PROBLEM
    assert PROBLEM.to_json() == {
        "type": "urn:retainer:problem:session-depleted",
        "title": "Deposit used up",
        "detail": "Top up or open a new session.",
        "status": 402,
        "remaining": "0",
    }


def test_the_drafts_types_have_the_drafts_addresses() -> None:
    assert str(ProblemType.INVALID_CHALLENGE) == "https://paymentauth.org/problems/invalid-challenge"
    assert len({str(kind) for kind in ProblemType}) == len(ProblemType)


def test_an_own_member_cannot_hide_a_standard_one() -> None:
    with pytest.raises(MessageError, match="status"):
        Problem(ProblemType.SESSION_DEPLETED, "t", "d", 402, {"status": 200}).to_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [("type", "about:blank"), ("type", 1), ("title", None), ("detail", 1), ("status", "402"), ("status", 200)],
)
def test_a_bad_member_is_named(field: str, value: Any) -> None:  # noqa: ANN401 - any JSON
    body = json.dumps({**PROBLEM.to_json(), field: value}).encode()
    with pytest.raises(MessageError, match=f"problem.{field}"):
        parse_problem(body)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b" " * 65_537])
def test_a_foreign_error_page_is_no_problem(body: bytes) -> None:
    with pytest.raises(MessageError):
        parse_problem(body)
