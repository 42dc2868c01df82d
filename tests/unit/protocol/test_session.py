from dataclasses import replace

import pytest

from retainer.protocol.session import (
    TRANSITIONS,
    ChainStatus,
    SessionState,
    VoucherSigner,
    can_move,
    user_state,
)
from tests.unit.protocol.examples import ACCOUNT, OPEN

NOW = ACCOUNT.opened_at + 1


def test_every_state_is_reached_and_only_the_two_ends_lead_nowhere() -> None:
    reached = {edge.target for edge in TRANSITIONS} | {SessionState.PENDING}
    assert reached == set(SessionState)
    assert set(SessionState) - {edge.source for edge in TRANSITIONS} == {SessionState.ABANDONED, SessionState.REFUNDED}


def test_moves_follow_the_table_and_nothing_else() -> None:
    edges = {(edge.source, edge.target) for edge in TRANSITIONS}
    assert len(edges) == len(TRANSITIONS)
    for source in SessionState:
        for target in SessionState:
            assert can_move(source, target) == ((source, target) in edges)


def test_no_money_comes_back_to_life() -> None:
    assert not can_move(SessionState.REFUNDED, SessionState.ACTIVE)
    assert not can_move(SessionState.CLOSING, SessionState.ACTIVE)
    assert not can_move(SessionState.EXPIRED, SessionState.ACTIVE)


def test_the_authorized_signer_tells_the_mode() -> None:
    assert ACCOUNT.voucher_signer is VoucherSigner.CLIENT
    assert replace(ACCOUNT, authorized_signer=ACCOUNT.operator).voucher_signer is VoucherSigner.OPERATOR


def test_an_account_knows_its_seeds_and_what_would_be_refunded() -> None:
    assert ACCOUNT.seeds == OPEN.seeds
    assert ACCOUNT.refundable == 920_000


@pytest.mark.parametrize(
    ("closure_started_at", "expires_at", "deadline"),
    [(None, 0, None), (1000, 0, 1900), (0, 0, 900), (None, 2000, 2900), (1000, 2000, 1900), (2000, 1000, 1900)],
)
def test_the_deadline_is_the_earliest_that_is_set(
    closure_started_at: int | None, expires_at: int, deadline: int | None
) -> None:
    """The status says whether a closure started: on a new test chain its time may well be 0."""
    account = replace(
        ACCOUNT,
        status=ChainStatus.OPEN if closure_started_at is None else ChainStatus.CLOSING,
        closure_started_at=closure_started_at or 0,
        expires_at=expires_at,
        grace_period=900,
    )
    assert account.deadline() == deadline


@pytest.mark.parametrize(
    ("status", "spent", "price", "now", "state"),
    [
        (ChainStatus.OPEN, 0, 8000, NOW, SessionState.ACTIVE),
        (ChainStatus.OPEN, 992_000, 8000, NOW, SessionState.ACTIVE),
        (ChainStatus.OPEN, 992_001, 8000, NOW, SessionState.DEPLETED),
        (ChainStatus.OPEN, 999_999, 0, NOW, SessionState.ACTIVE),
        (ChainStatus.OPEN, 1_000_000, 0, NOW, SessionState.DEPLETED),
        (ChainStatus.OPEN, 0, 8000, ACCOUNT.expires_at - 1, SessionState.ACTIVE),
        (ChainStatus.OPEN, 1_000_000, 8000, ACCOUNT.expires_at, SessionState.EXPIRED),
        (ChainStatus.CLOSING, 1_000_000, 8000, ACCOUNT.expires_at, SessionState.CLOSING),
        (ChainStatus.CLOSED, 0, 8000, NOW, SessionState.REFUNDED),
    ],
)
def test_users_see_the_state_that_limits_them(
    status: ChainStatus, spent: int, price: int, now: int, state: SessionState
) -> None:
    assert user_state(replace(ACCOUNT, status=status), spent=spent, price=price, now=now) is state


def test_a_session_without_expiry_does_not_expire() -> None:
    account = replace(ACCOUNT, expires_at=0)
    assert user_state(account, spent=0, price=8000, now=2**62) is SessionState.ACTIVE
