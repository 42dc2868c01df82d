"""The state machine of one request, on its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.flows.flow import Exchange, Next, Reply, decide
from retainer.protocol.problems import ProblemType

CHALLENGED = Reply(402, ProblemType.PAYMENT_REQUIRED, challenged=True)


def over(problem: ProblemType) -> Reply:
    return Reply(402, problem, challenged=True)


@pytest.mark.parametrize("status", [200, 204, 301, 400, 404, 409, 422, 500, 503])
def test_an_answer_that_asks_for_no_session_is_delivered(status: int) -> None:
    assert decide(Exchange(), Reply(status))[1] is Next.DELIVER


def test_a_402_of_another_scheme_is_delivered() -> None:
    assert decide(Exchange(), Reply(402))[1] is Next.DELIVER


def test_a_challenge_is_paid() -> None:
    exchange, step = decide(Exchange(), CHALLENGED)
    assert (exchange.paid, step) == (True, Next.PAY)


def test_a_challenge_after_paying_is_delivered() -> None:
    assert decide(Exchange(paid=True), CHALLENGED)[1] is Next.DELIVER


@pytest.mark.parametrize(
    "problem",
    [
        ProblemType.SESSION_UNKNOWN,
        ProblemType.SESSION_EXPIRED,
        ProblemType.SESSION_CLOSING,
        ProblemType.SESSION_CLOSED,
    ],
)
def test_a_session_that_is_over_is_replaced_once(problem: ProblemType) -> None:
    exchange, step = decide(Exchange(paid=True), over(problem))
    assert step is Next.REPLACE
    assert decide(exchange, over(problem))[1] is Next.DELIVER


def test_a_depleted_session_is_the_callers_decision() -> None:
    assert decide(Exchange(paid=True), over(ProblemType.SESSION_DEPLETED))[1] is Next.DELIVER


def test_with_a_policy_a_depleted_session_is_funded_once() -> None:
    depleted = over(ProblemType.SESSION_DEPLETED)
    exchange, step = decide(Exchange(paid=True, pinned=True, may_fund=True), depleted)
    assert step is Next.FUND
    assert decide(exchange, depleted)[1] is Next.DELIVER


@pytest.mark.parametrize("problem", list(ProblemType))
def test_a_session_that_the_caller_named_is_never_replaced(problem: ProblemType) -> None:
    reply = Reply(402, problem, challenged=True, same_scope=False)
    assert decide(Exchange(paid=True, pinned=True), reply)[1] is Next.DELIVER


def test_another_offers_route_is_paid_from_its_own_session() -> None:
    reply = Reply(402, ProblemType.SESSION_UNKNOWN, challenged=True, same_scope=False)
    assert decide(Exchange(paid=True), reply)[1] is Next.PAY


@given(
    st.lists(
        st.builds(
            Reply,
            st.sampled_from([200, 402, 409, 503]),
            st.sampled_from([None, *ProblemType]),
            st.booleans(),
            st.booleans(),
        ),
        min_size=9,
        max_size=9,
    ),
    st.builds(Exchange, may_fund=st.booleans()),
)
def test_no_service_can_keep_it_going(replies: list[Reply], exchange: Exchange) -> None:
    """At most three payments, one replacement, one top-up and five pauses, and then the caller hears of it."""
    steps = list[Next]()
    for reply in replies:
        exchange, step = decide(exchange, reply)
        steps.append(step)
        if step is Next.DELIVER:
            break
    assert steps[-1] is Next.DELIVER
    assert steps.count(Next.PAY) + steps.count(Next.REPLACE) + steps.count(Next.FUND) <= 3
    assert steps.count(Next.REPLACE) <= 1
    assert steps.count(Next.FUND) <= 1
    assert steps.count(Next.WAIT) <= 5
