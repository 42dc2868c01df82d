"""A JSON Schema in the terms: small, self-contained, and the same text whoever writes it."""

from typing import Any

import pytest

from retainer.protocol.errors import MessageError, TermsError
from retainer.protocol.response_schema import DIALECT, MAX_SCHEMA_BYTES, canonical_schema
from retainer.protocol.sla import Observation, SlaTerms, judge

SCHEMA = canonical_schema({"type": "object", "required": ["answer"]})
TERMS = SlaTerms(response_schema=SCHEMA)


def test_the_order_of_members_changes_nothing() -> None:
    other = SlaTerms(response_schema=canonical_schema({"required": ["answer"], "type": "object"}))
    assert other.hash() == TERMS.hash() != SlaTerms().hash()
    assert SlaTerms.from_json(TERMS.to_json()).hash() == TERMS.hash()


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (True, "is an object"),
        ([], "is an object"),
        ({"minimum": 0.5}, "integers"),
        ({"const": "x" * MAX_SCHEMA_BYTES}, "at most 2048"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "remove another"),
        ({"$ref": "https://evil.test/schema.json"}, "only references into itself"),
        ({"properties": {"a": {"anyOf": [{"$ref": "other.json#/a"}]}}}, "only references into itself"),
        ({"$dynamicRef": "https://evil.test/#x"}, "only references into itself"),
        ({"$ref": 5}, "only references into itself"),
        ({"$defs": {"a": {"$id": "https://evil.test/"}}}, "remove it"),
    ],
)
def test_what_must_be_fetched_or_cannot_be_agreed_on_is_refused(schema: Any, reason: str) -> None:  # noqa: ANN401
    with pytest.raises(TermsError, match=reason):
        canonical_schema(schema)
    with pytest.raises(MessageError, match=reason):
        SlaTerms.from_json({**SlaTerms().to_json(), "responseSchema": schema})


def test_references_inside_are_kept() -> None:
    assert canonical_schema({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}, "$schema": DIALECT})


@pytest.mark.parametrize("text", ["{", '{"b":1, "a":2}', '"text"'])
def test_terms_hold_canonical_text_only(text: str) -> None:
    with pytest.raises(TermsError):
        SlaTerms(response_schema=text)


@pytest.mark.parametrize(
    ("method", "status", "schema_ok", "term"),
    [
        ("GET", 200, True, None),
        ("GET", 200, False, "response_schema"),
        ("GET", 200, None, "response_schema"),  # nobody looked
        ("HEAD", 200, None, None),
        ("GET", 304, None, None),
        ("GET", 404, False, None),
    ],
)
def test_a_body_that_does_not_fit_makes_the_answer_free(
    method: str,
    status: int,
    schema_ok: bool | None,  # noqa: FBT001
    term: str | None,
) -> None:
    assert judge(TERMS, Observation(status, 1, 5, method, schema_ok)).term == term


def test_without_a_schema_nothing_is_held_against_one() -> None:
    assert judge(SlaTerms(), Observation(200, 1, 5, "GET", schema_ok=False)).term is None
