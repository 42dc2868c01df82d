"""The settlement outbox in SQL: planned, signed, done."""

from typing import Final

import apsw

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.outcomes import PlanOutcome, RecordOutcome, SignedOutcome
from retainer_provider.books.records import Settlement, SettlementPlan, SettlementStage, ledger_amount
from retainer_provider.books.stores.sqlite_rows import first_row

# The plan must be of the books as they are at this moment, with nothing in flight that could change them. It may give
# units back, never more than were charged, each at the session's price.
_PLAN: Final = """
  INSERT INTO settlement (session, stage, amount, charged_units, refund, usage_root, opened_at, created_at)
  SELECT number, 'planned', :amount, :charged_units, :refund, :usage_root, :opened_at, :now FROM session
  WHERE session_id = :session_id AND state = 'closing' AND opened_at = :opened_at
    AND usage_root = :usage_root AND :charged_units BETWEEN 0 AND units_charged
    AND spent - :amount = (units_charged - :charged_units) * price
    AND deposit = :amount + :refund
    AND NOT :in_flight
    AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.session = session.number AND transfer.stage = 'expected')
  ON CONFLICT (session) DO UPDATE SET
    amount = excluded.amount, charged_units = excluded.charged_units, refund = excluded.refund,
    usage_root = excluded.usage_root
  WHERE stage = 'planned' RETURNING session"""
_WHY_NOT: Final = """
  SELECT state, coalesce(stage, '')
  FROM session LEFT JOIN settlement ON settlement.session = session.number WHERE session_id = ?"""
_SIGNED: Final = """
  UPDATE settlement SET
    stage = 'signed', raw = :raw, signature = :signature, last_valid_block_height = :height, attempts = attempts + 1
  WHERE session = (SELECT number FROM session WHERE session_id = :session_id AND state = 'closing')
  RETURNING session"""
_SETTLEMENT: Final = """
  SELECT stage, amount, charged_units, refund, usage_root, opened_at, attempts, raw, signature,
    last_valid_block_height, created_at
  FROM settlement WHERE session = (SELECT number FROM session WHERE session_id = ?)"""
_RECORD: Final = """
  UPDATE session SET
    state = 'refunded', settled = :settled, refund = :refunded, settlement_signature = :signature, closed_at = :now,
    account_left = voucher_signer = 'client'
  WHERE session_id = :session_id AND state = 'closing' AND :settled <= deposit AND :refunded = deposit - :settled
  RETURNING number"""
_DONE: Final = "UPDATE settlement SET stage = 'done', raw = NULL WHERE session = ?"
_STATE: Final = "SELECT state FROM session WHERE session_id = ?"


def plan_settlement(
    connection: apsw.Connection, session_id: str, plan: SettlementPlan, now: int, *, in_flight: bool
) -> PlanOutcome:
    """See ``Ledger.plan_settlement``."""
    bindings = {
        "session_id": session_id,
        "amount": ledger_amount(plan.amount),
        "charged_units": plan.charged_units,
        "refund": ledger_amount(plan.refund),
        "usage_root": plan.usage_root,
        "opened_at": plan.opened_at,
        "in_flight": in_flight,
        "now": now,
    }
    if first_row(connection, _PLAN, bindings):
        return PlanOutcome.PLANNED
    found = first_row(connection, _WHY_NOT, (session_id,))
    if found is None or found[0] != "closing":
        return PlanOutcome.NOT_CLOSING
    if found[1] == "signed":
        return PlanOutcome.SIGNED
    return PlanOutcome.IN_FLIGHT if in_flight else PlanOutcome.STALE


def store_signed(
    connection: apsw.Connection, session_id: str, raw: bytes, signature: str, last_valid_block_height: int
) -> SignedOutcome:
    """See ``Ledger.store_signed``."""
    bindings = {"session_id": session_id, "raw": raw, "signature": signature, "height": last_valid_block_height}
    stored = first_row(connection, _SIGNED, bindings)
    return SignedOutcome.STORED if stored else SignedOutcome.NO_PLAN


def settlement(connection: apsw.Connection, session_id: str) -> Settlement | None:
    """See ``Ledger.settlement``."""
    row = first_row(connection, _SETTLEMENT, (session_id,))
    if row is None:
        return None
    stage, amount, units, refund, root, opened_at, attempts, raw, signature, height, created_at = row
    return Settlement(
        session_id=session_id,
        stage=SettlementStage(stage),
        plan=SettlementPlan(BaseUnits(amount), units, BaseUnits(refund), root, opened_at),
        attempts=attempts,
        raw=raw,
        signature=signature,
        last_valid_block_height=height,
        created_at=created_at,
    )


def record_settled(
    connection: apsw.Connection, session_id: str, signature: str | None, *, settled: int, refunded: int, now: int
) -> RecordOutcome:
    """See ``Ledger.record_settled``."""
    bindings = {
        "session_id": session_id,
        "signature": signature,
        "settled": ledger_amount(settled),
        "refunded": ledger_amount(refunded),
        "now": now,
    }
    recorded = first_row(connection, _RECORD, bindings)
    if recorded is not None:
        connection.execute(_DONE, recorded)
        return RecordOutcome.RECORDED
    match first_row(connection, _STATE, (session_id,)):
        case ("refunded",):
            return RecordOutcome.ALREADY
        case ("closing",):
            return RecordOutcome.MISMATCH
        case _:
            return RecordOutcome.NOT_CLOSING
