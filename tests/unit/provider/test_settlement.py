from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionAccount
from retainer_provider.books.records import SessionRecord, SettlementPlan
from retainer_provider.settling.settlement import Mismatch, plan_settlement
from tests.books import DEPOSIT, NOW, PRICE, account_of, key, new_session, record_of


def session(spent_units: int = 30) -> tuple[SessionRecord, SessionAccount]:
    """Books and account of a session that fits."""
    new = new_session()
    record = record_of(new, spent=spent_units * PRICE, units_charged=spent_units, usage_root=b"\x07" * 32)
    return record, account_of(new)


def test_what_is_spent_is_settled_and_the_rest_refunded() -> None:
    record, account = session()
    assert plan_settlement(record, account) == SettlementPlan(
        BaseUnits(240_000), 30, BaseUnits(760_000), b"\x07" * 32, NOW
    )


@given(st.integers(0, 2**63 - 1), st.data())
def test_a_plan_splits_the_deposit_to_the_unit(deposit: int, data: st.DataObject) -> None:
    """C16, with a price that varies."""
    spent = data.draw(st.integers(0, deposit))
    new = new_session(deposit=deposit, price=0)
    plan = plan_settlement(record_of(new, spent=spent, units_charged=3), account_of(new))
    assert isinstance(plan, SettlementPlan)
    assert plan.amount + plan.refund == deposit
    assert plan.amount == spent


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"opened_at": NOW + 1}, "was opened at"),
        ({"operator": key("someone else")}, "operator is"),
        ({"settled": 30 * PRICE + 1}, "old backup"),
        ({"charged_units": 31}, "old backup"),
        ({"deposit": DEPOSIT - 1}, "deposit is"),
        ({"deposit": DEPOSIT + 1}, "deposit is"),
        ({"price_per_unit": PRICE + 1}, "committed price"),
    ],
)
def test_books_and_account_that_contradict_each_other_are_not_settled(change: dict[str, int], reason: str) -> None:
    record, account = session()
    mismatch = plan_settlement(record, replace(account, **change))  # type: ignore[arg-type] # fields of an account
    assert isinstance(mismatch, Mismatch)
    assert reason in mismatch.reason
    assert record.session_id in mismatch.reason


def test_what_was_settled_before_stays_within_the_plan() -> None:
    record, account = session()
    partly = replace(account, settled=10 * PRICE, charged_units=10)  # type: ignore[arg-type] # an amount
    assert plan_settlement(record, partly) == plan_settlement(record, account)
