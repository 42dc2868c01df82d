import pytest

from retainer.protocol.session import SessionState
from tests.books import DEPOSIT, GRACE, NOW, PRICE, new_session, record_of


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, SessionState.ACTIVE),
        ({"spent": DEPOSIT - PRICE}, SessionState.ACTIVE),
        ({"spent": DEPOSIT - PRICE + 1}, SessionState.DEPLETED),
        ({"price": 0, "spent": DEPOSIT - 1}, SessionState.ACTIVE),
        ({"price": 0, "spent": DEPOSIT}, SessionState.DEPLETED),
        ({"expires_at": NOW + 1}, SessionState.ACTIVE),
        ({"expires_at": NOW}, SessionState.EXPIRED),
        ({"expires_at": NOW, "spent": DEPOSIT}, SessionState.EXPIRED),
        ({"state": SessionState.CLOSING, "expires_at": NOW}, SessionState.CLOSING),
        ({"state": SessionState.PENDING, "expires_at": NOW}, SessionState.PENDING),
    ],
)
def test_depleted_and_expired_are_told_from_balance_and_time(fields: dict[str, int], state: SessionState) -> None:
    assert record_of(new_session(), **fields).state_at(NOW) is state


@pytest.mark.parametrize(
    ("closure_started_at", "expires_at", "deadline"),
    [(0, 0, None), (0, 500, 500 + GRACE), (300, 0, 300 + GRACE), (300, 500, 300 + GRACE), (700, 500, 500 + GRACE)],
)
def test_the_deadline_is_the_earliest_that_is_set(
    closure_started_at: int, expires_at: int, deadline: int | None
) -> None:
    record = record_of(new_session(), closure_started_at=closure_started_at, expires_at=expires_at)
    assert record.deadline == deadline
