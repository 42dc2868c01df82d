from dataclasses import replace
from typing import Any

import pytest

from retainer.protocol.errors import MessageError, TermsError
from retainer.protocol.sla import NO_TERMS_HASH, Observation, SlaTerms, judge, terms_hash
from tests.golden import golden

STRICT = SlaTerms(max_latency_ms=100, min_body_bytes=1)
GOOD = Observation(status=200, latency_ms=100, body_bytes=1, method="GET")


@pytest.mark.parametrize("case", golden("sla"))
def test_terms_have_the_bytes_and_hash_of_the_vectors(case: dict[str, Any]) -> None:
    terms = SlaTerms.from_json(case["terms"])
    assert terms.canonical_bytes().decode() == case["canonical"]
    assert terms.hash().hex() == case["hash"]


def test_the_order_in_which_statuses_are_written_changes_nothing() -> None:
    one, other = SlaTerms(accepted_statuses=("2xx", "404")), SlaTerms(accepted_statuses=("404", "2xx"))
    assert one.hash() == other.hash()
    assert one.hash() != SlaTerms(accepted_statuses=("2xx",)).hash()


@pytest.mark.parametrize("number", [1, 2**53 - 1])
def test_numbers_reach_to_their_bounds(number: int) -> None:
    terms = SlaTerms(max_latency_ms=number, min_body_bytes=number)
    assert SlaTerms.from_json(terms.to_json()) == SlaTerms(
        max_latency_ms=number, accepted_statuses=tuple(sorted(terms.accepted_statuses)), min_body_bytes=number
    )


def test_no_terms_hash_to_zero() -> None:
    assert terms_hash(None) == NO_TERMS_HASH == bytes(32)
    assert terms_hash(STRICT) == STRICT.hash() != NO_TERMS_HASH


@pytest.mark.parametrize(
    "terms",
    [
        {"max_latency_ms": 0},
        {"max_latency_ms": 2**53},
        {"min_body_bytes": -1},
        {"min_body_bytes": 2**53},
        {"accepted_statuses": ()},
        {"accepted_statuses": ("2xx", "2xx")},
        {"accepted_statuses": ("600",)},
        {"accepted_statuses": ("2XX",)},
        {"accepted_statuses": ("20",)},
        {"accepted_statuses": ("200\n",)},
    ],
)
def test_terms_that_cannot_be_meant_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(TermsError):
        SlaTerms(**terms)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": "2"}, "version"),
        ({"maxLatencyMs": 0}, "maxLatencyMs"),
        ({"maxLatencyMs": 1.5}, "maxLatencyMs"),
        ({"acceptedStatuses": "2xx"}, "acceptedStatuses"),
        ({"acceptedStatuses": ["nope"]}, "nope"),
        ({"minBodyBytes": "1"}, "minBodyBytes"),
        ({"minUptime": 99}, "minUptime"),
    ],
)
def test_a_bad_member_is_named_and_an_unknown_one_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(MessageError, match=named):
        SlaTerms.from_json({**STRICT.to_json(), **change})


def test_an_answer_within_the_terms_is_charged() -> None:
    assert not judge(STRICT, GOOD).breached
    assert not judge(None, replace(GOOD, status=500, latency_ms=10**9)).breached


@pytest.mark.parametrize(
    ("observation", "term"),
    [
        (replace(GOOD, status=500), "accepted_statuses"),
        (replace(GOOD, status=500, method="HEAD"), "accepted_statuses"),
        (replace(GOOD, latency_ms=101), "max_latency_ms"),
        (replace(GOOD, body_bytes=0), "min_body_bytes"),
        (replace(GOOD, status=500, latency_ms=101, body_bytes=0), "accepted_statuses"),
        (replace(GOOD, latency_ms=101, body_bytes=0), "max_latency_ms"),
    ],
)
def test_a_broken_term_is_named(observation: Observation, term: str) -> None:
    verdict = judge(STRICT, observation)
    assert (verdict.breached, verdict.term) == (True, term)
    assert verdict.detail


@pytest.mark.parametrize(
    "observation",
    [
        replace(GOOD, method="HEAD", body_bytes=0),
        replace(GOOD, method="head", body_bytes=0),
        replace(GOOD, status=304, body_bytes=0),
        replace(GOOD, status=400, body_bytes=0),
        replace(GOOD, status=404, body_bytes=0),
        replace(GOOD, status=499, body_bytes=0),
    ],
)
@pytest.mark.row(
    "F31", attack="HEAD, conditional and wrong requests to break the terms", twin="a breach of the service's is free"
)
def test_what_an_agent_can_provoke_is_no_breach(observation: Observation) -> None:
    """F31: free answers cannot be farmed by HEAD, conditional or wrong requests."""
    assert not judge(STRICT, observation).breached


def test_terms_may_say_otherwise() -> None:
    only_ok = SlaTerms(accepted_statuses=("200",))
    assert judge(only_ok, replace(GOOD, status=404)).term == "accepted_statuses"
    assert judge(only_ok, replace(GOOD, status=201)).term == "accepted_statuses"
    assert not judge(only_ok, replace(GOOD, status=304)).breached
    assert judge(SlaTerms(accepted_statuses=("5xx",)), replace(GOOD, status=304)).breached
    charged_errors = SlaTerms(accepted_statuses=("2xx", "5xx"), min_body_bytes=1)
    assert not judge(charged_errors, replace(GOOD, status=500)).breached
    assert judge(charged_errors, replace(GOOD, status=500, body_bytes=0)).term == "min_body_bytes"
    assert judge(
        SlaTerms(accepted_statuses=("3xx",), min_body_bytes=1), replace(GOOD, status=399, body_bytes=0)
    ).breached
