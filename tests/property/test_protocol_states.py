"""Whatever happens to a session on chain, what people see of it moves along the table's edges."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import ChainStatus, SessionAccount, SessionState, can_move, user_state
from tests.unit.protocol.examples import ACCOUNT

PRICE = 8000
EVENTS = st.sampled_from(["charge", "top up", "an hour passes", "request close", "close"])


@given(
    events=st.lists(EVENTS, max_size=30),
    deposit=st.integers(PRICE, 5 * PRICE),
    expires_in=st.integers(1, 20_000) | st.none(),
)
def test_every_move_is_an_edge(events: list[str], deposit: int, expires_in: int | None) -> None:
    now, spent = ACCOUNT.opened_at, 0
    account = replace(ACCOUNT, deposit=BaseUnits(deposit), expires_at=0 if expires_in is None else now + expires_in)
    before = user_state(account, spent=spent, price=PRICE, now=now)
    for event in events:
        spent, now, account = after(event, before, account, spent, now)
        state = user_state(account, spent=spent, price=PRICE, now=now)
        assert state is before or can_move(before, state)
        assert 0 <= spent <= account.deposit
        before = state


def after(
    event: str, state: SessionState, account: SessionAccount, spent: int, now: int
) -> tuple[int, int, SessionAccount]:
    """What the event does where the provider and the program allow it; elsewhere nothing."""
    match event:
        case "charge" if state is SessionState.ACTIVE:
            return spent + PRICE, now, account
        case "top up" if state in (SessionState.ACTIVE, SessionState.DEPLETED):
            return spent, now, replace(account, deposit=BaseUnits(account.deposit + PRICE))
        case "an hour passes":
            return spent, now + 3600, account
        case "request close" if account.status is ChainStatus.OPEN:
            return spent, now, replace(account, status=ChainStatus.CLOSING, closure_started_at=now)
        case "close" if state is SessionState.CLOSING:
            return spent, now, replace(account, status=ChainStatus.CLOSED)
    return spent, now, account
