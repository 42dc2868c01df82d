"""The settlement outbox in PostgreSQL: claimed by one process, planned, signed, done."""

from typing import Final

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.outcomes import ClaimOutcome, PlanOutcome, RecordOutcome, SignedOutcome
from retainer_provider.books.records import Settlement, SettlementPlan, SettlementStage, ledger_amount
from retainer_provider.books.stores.postgres_rows import Connection, first_row

# Nobody else who lives is at it, and we live: a process that stalled past its lease signs nothing more.
_MINE: Final = """(
    settler IS NULL OR settler = %(epoch)s
    OR NOT EXISTS (SELECT FROM process WHERE epoch = settler AND lease_until > clock_timestamp())
  ) AND EXISTS (SELECT FROM process WHERE epoch = %(epoch)s AND lease_until > clock_timestamp())"""
_CLAIM: Final = f"""
  UPDATE session SET settler = %(epoch)s
  WHERE session_id = %(session_id)s AND state = 'closing' AND {_MINE} RETURNING number"""
# The plan must be of the books as they are at this moment, with nothing in flight that could change them. It may give
# units back, never more than were charged, each at the session's price.
_PLAN: Final = """
  INSERT INTO settlement (session, stage, amount, charged_units, refund, usage_root, opened_at, created_at)
  SELECT number, 'planned', %(amount)s, %(charged_units)s, %(refund)s, %(usage_root)s, %(opened_at)s, %(now)s
  FROM session
  WHERE session_id = %(session_id)s AND state = 'closing' AND opened_at = %(opened_at)s
    AND usage_root = %(usage_root)s AND %(charged_units)s BETWEEN 0 AND units_charged
    AND spent - %(amount)s = (units_charged - %(charged_units)s) * price
    AND deposit - %(amount)s = %(refund)s AND in_flight = 0
    AND NOT EXISTS (SELECT FROM transfer WHERE transfer.session = session.number AND transfer.stage = 'expected')
  ON CONFLICT (session) DO UPDATE SET
    amount = excluded.amount, charged_units = excluded.charged_units, refund = excluded.refund,
    usage_root = excluded.usage_root
  WHERE settlement.stage = 'planned' RETURNING session"""
_WHY_NOT: Final = """
  SELECT state, coalesce(stage, ''), in_flight > 0
  FROM session LEFT JOIN settlement ON settlement.session = session.number WHERE session_id = %(session_id)s"""
_SIGNED: Final = """
  UPDATE settlement SET
    stage = 'signed', raw = %(raw)s, signature = %(signature)s, last_valid_block_height = %(height)s,
    attempts = attempts + 1
  WHERE session = %(number)s RETURNING session"""
_SETTLEMENT: Final = """
  SELECT stage, amount, charged_units, refund, usage_root, opened_at, attempts, raw, signature,
    last_valid_block_height, created_at
  FROM settlement WHERE session = (SELECT number FROM session WHERE session_id = %(session_id)s)"""
_RECORD: Final = """
  UPDATE session SET
    state = 'refunded', settled = %(settled)s, refund = %(refunded)s, settlement_signature = %(signature)s,
    closed_at = %(now)s, account_left = voucher_signer = 'client'
  WHERE session_id = %(session_id)s AND state = 'closing'
    AND %(settled)s <= deposit AND %(refunded)s = deposit - %(settled)s
  RETURNING number"""
_DONE: Final = "UPDATE settlement SET stage = 'done', raw = NULL WHERE session = %(number)s"
_STATE: Final = "SELECT state FROM session WHERE session_id = %(session_id)s"
_LOCK: Final = _STATE + " FOR NO KEY UPDATE"


async def claim_settlement(connection: Connection, epoch: int, session_id: str) -> ClaimOutcome:
    """See ``Ledger.claim_settlement``."""
    claimed = await first_row(connection, _CLAIM, {"session_id": session_id, "epoch": epoch})
    return ClaimOutcome.CLAIMED if claimed else ClaimOutcome.ELSEWHERE


async def plan_settlement(connection: Connection, session_id: str, plan: SettlementPlan, now: int) -> PlanOutcome:
    """See ``Ledger.plan_settlement``."""
    bindings = {
        "session_id": session_id,
        "amount": ledger_amount(plan.amount),
        "charged_units": plan.charged_units,
        "refund": ledger_amount(plan.refund),
        "usage_root": plan.usage_root,
        "opened_at": plan.opened_at,
        "now": now,
    }
    # Locked first, so that the plan sees the end of a commit that is just ending.
    await first_row(connection, _LOCK, {"session_id": session_id})
    if await first_row(connection, _PLAN, bindings):
        return PlanOutcome.PLANNED
    found = await first_row(connection, _WHY_NOT, {"session_id": session_id})
    if found is None or found[0] != "closing":
        return PlanOutcome.NOT_CLOSING
    _, stage, in_flight = found
    if stage == "signed":
        return PlanOutcome.SIGNED
    return PlanOutcome.IN_FLIGHT if in_flight else PlanOutcome.STALE


async def store_signed(
    connection: Connection, epoch: int, session_id: str, *, raw: bytes, signature: str, height: int
) -> SignedOutcome:
    """See ``Ledger.store_signed``."""
    claimed = await first_row(connection, _CLAIM, {"session_id": session_id, "epoch": epoch})
    if claimed is None:
        return SignedOutcome.NO_PLAN
    bindings = {"number": claimed[0], "raw": raw, "signature": signature, "height": height}
    stored = await first_row(connection, _SIGNED, bindings)
    return SignedOutcome.STORED if stored else SignedOutcome.NO_PLAN


async def settlement(connection: Connection, session_id: str) -> Settlement | None:
    """See ``Ledger.settlement``."""
    row = await first_row(connection, _SETTLEMENT, {"session_id": session_id})
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


async def record_settled(
    connection: Connection, session_id: str, signature: str | None, *, settled: int, refunded: int, now: int
) -> RecordOutcome:
    """See ``Ledger.record_settled``."""
    bindings = {
        "session_id": session_id,
        "signature": signature,
        "settled": ledger_amount(settled),
        "refunded": ledger_amount(refunded),
        "now": now,
    }
    recorded = await first_row(connection, _RECORD, bindings)
    if recorded is not None:
        await connection.execute(_DONE, {"number": recorded[0]})
        return RecordOutcome.RECORDED
    match await first_row(connection, _STATE, {"session_id": session_id}):
        case ("refunded",):
            return RecordOutcome.ALREADY
        case ("closing",):
            return RecordOutcome.MISMATCH
        case _:
            return RecordOutcome.NOT_CLOSING
