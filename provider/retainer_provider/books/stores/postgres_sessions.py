"""A session's life in PostgreSQL: admitted, active, closing. Every move is one conditional UPDATE."""

import json
from collections.abc import Collection
from typing import Final

from retainer.protocol.session import SessionAccount, SessionState
from retainer.protocol.usage import EMPTY_ROOT
from retainer.protocol.vouchers import voucher_to_json
from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.outcomes import (
    AbandonOutcome,
    ActivateOutcome,
    AdmitOutcome,
    AdmitResult,
    AdoptOutcome,
    CloseBegin,
    DepositOutcome,
    RelandOutcome,
)
from retainer_provider.books.records import Adoption, NewSession, SessionRecord, ledger_amount
from retainer_provider.books.stores import postgres_transfers
from retainer_provider.books.stores.postgres_rows import (
    HELD_COLUMNS,
    Connection,
    all_rows,
    first_row,
    held_record,
)
from retainer_provider.books.stores.rows import NEW_FIELDS, session_bindings

_LOAD: Final = f"SELECT {HELD_COLUMNS} FROM session WHERE session_id = %(session_id)s"
_STATE: Final = "SELECT state FROM session WHERE session_id = %(session_id)s"
_IN_FLIGHT: Final = "SELECT in_flight FROM session WHERE session_id = %(session_id)s"
_ADMIT: Final = f"""
  INSERT INTO session ({", ".join(NEW_FIELDS)}, state, usage_root, last_activity_at)
  VALUES ({", ".join(f"%({field})s" for field in NEW_FIELDS)}, 'pending', %(usage_root)s, %(created_at)s)
  ON CONFLICT (session_id) DO NOTHING RETURNING {HELD_COLUMNS}"""
_ACTIVATE: Final = """
  UPDATE session SET
    state = 'active', deposit = %(deposit)s, grace_period = %(grace_period)s, opened_at = %(opened_at)s,
    closure_started_at = %(closure_started_at)s, last_activity_at = %(now)s,
    creation_signature = coalesce(%(signature)s, creation_signature)
  WHERE session_id = %(session_id)s AND state = 'pending' RETURNING number"""
_ADOPT: Final = """
  UPDATE session SET
    state = 'closing', closing_reason = %(reason)s, spent = %(spent)s, units_charged = %(units)s,
    sequence = %(sequence)s, usage_root = %(usage_root)s, accepted = %(accepted)s, voucher = %(voucher)s
  WHERE session_id = %(session_id)s AND state = 'active'"""
_ABANDON: Final = """
  UPDATE session SET state = 'abandoned', closing_reason = %(reason)s, closed_at = %(now)s
  WHERE session_id = %(session_id)s AND state = 'pending'
    AND NOT EXISTS (SELECT FROM transfer WHERE transfer.session = session.number AND stage = 'expected')
  RETURNING number"""
_BEGIN_CLOSE: Final = """
  UPDATE session SET state = 'closing', closing_reason = %(reason)s, last_activity_at = %(now)s
  WHERE session_id = %(session_id)s AND state = 'active' RETURNING number"""
_CLOSURE_STARTED: Final = """
  UPDATE session SET closure_started_at = %(started_at)s
  WHERE session_id = %(session_id)s AND state IN ('active', 'closing')"""
_DEPOSIT: Final = """
  UPDATE session SET deposit = %(deposit)s, last_activity_at = %(now)s
  WHERE session_id = %(session_id)s AND state IN ('active', 'closing') AND deposit < %(deposit)s RETURNING number"""
_PAGE: Final = f"""
  SELECT {HELD_COLUMNS} FROM session
  WHERE number > %(after)s AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s::text[]))
  ORDER BY number LIMIT %(limit)s"""
# With a request in flight a session may be expired, but not idle.
_DUE: Final = f"""
  SELECT {HELD_COLUMNS} FROM session
  WHERE state = 'active' AND (
    (expires_at > 0 AND expires_at <= %(now)s)
    OR (idle_timeout > 0 AND in_flight = 0 AND last_activity_at + idle_timeout <= %(now)s)
  )
  ORDER BY deadline NULLS LAST, number LIMIT %(limit)s"""
_LEFT_BEHIND: Final = f"SELECT {HELD_COLUMNS} FROM session WHERE account_left ORDER BY number LIMIT %(limit)s"
_ACCOUNT_GONE: Final = "UPDATE session SET account_left = FALSE WHERE session_id = %(session_id)s"
_CLOSING: Final = "SELECT session_id FROM session WHERE state = 'closing' ORDER BY deadline NULLS LAST, number"
_RELAND: Final = """
  UPDATE session SET opened_at = %(opened_at)s
  WHERE session_id = %(session_id)s AND state = 'closing'
    AND NOT EXISTS (SELECT FROM settlement WHERE settlement.session = session.number AND stage <> 'planned')
  RETURNING number"""
_UNPLAN: Final = "DELETE FROM settlement WHERE session = %(number)s"


async def load(connection: Connection, session_id: str, *, lock: bool = False) -> SessionRecord | None:
    """The session as committed. ``lock`` keeps it so until the transaction ends, whatever other processes do."""
    statement = _LOAD + " FOR NO KEY UPDATE" if lock else _LOAD
    row = await first_row(connection, statement, {"session_id": session_id})
    return None if row is None else held_record(row)


async def in_flight(connection: Connection, session_id: str) -> int:
    """How many of the session's requests run, in any process."""
    row = await first_row(connection, _IN_FLIGHT, {"session_id": session_id})
    return 0 if row is None else int(row[0])


async def admit(connection: Connection, new: NewSession) -> AdmitResult:
    """See ``Ledger.admit``. The id binds payer, payee, mint, signer, salt and slot; the challenge binds the offer."""
    row = await first_row(connection, _ADMIT, session_bindings(new) | {"usage_root": EMPTY_ROOT})
    if row is not None:
        return AdmitResult(AdmitOutcome.ADMITTED, held_record(row))
    known = await load(connection, new.session_id)
    if known is None:
        raise LedgerError(f"session {new.session_id} is neither new nor known: check the database with pg_amcheck")
    same = known.challenge_id == new.challenge_id
    return AdmitResult(AdmitOutcome.KNOWN_SAME if same else AdmitOutcome.KNOWN_OTHER, known)


async def activate(
    connection: Connection, session_id: str, account: SessionAccount, signature: str | None, now: int
) -> ActivateOutcome:
    """See ``Ledger.activate``."""
    # Price, expiry and SLA stay the offer's: an account opened without terms states none of them.
    bindings = {
        "session_id": session_id,
        "deposit": ledger_amount(account.deposit),
        "grace_period": account.grace_period,
        "opened_at": account.opened_at,
        "closure_started_at": account.closure_started_at,
        "signature": signature,
        "now": now,
    }
    if await first_row(connection, _ACTIVATE, bindings):
        return ActivateOutcome.ACTIVATED
    known = await _state(connection, session_id) is SessionState.ACTIVE
    return ActivateOutcome.ALREADY_ACTIVE if known else ActivateOutcome.NOT_PENDING


async def adopt(connection: Connection, adoption: Adoption) -> AdoptOutcome:
    """See ``Ledger.adopt``."""
    new, voucher = adoption.new, adoption.voucher
    if (await admit(connection, new)).outcome is not AdmitOutcome.ADMITTED:
        return AdoptOutcome.KNOWN
    if adoption.account is not None:
        await activate(connection, new.session_id, adoption.account, None, adoption.now)
    for transfer in adoption.transfers:
        await postgres_transfers.expect_transfer(connection, new.session_id, transfer)
        await postgres_transfers.credit_transfer(connection, new.session_id, transfer.signature, new.created_at)
    bindings = {
        "session_id": new.session_id,
        "reason": adoption.reason,
        "spent": ledger_amount(adoption.spent),
        "units": adoption.units_charged,
        "sequence": adoption.sequence,
        "usage_root": adoption.usage_root,
        "accepted": 0 if voucher is None else voucher.voucher.cumulative,
        "voucher": None if voucher is None else json.dumps(voucher_to_json(voucher)),
    }
    await connection.execute(_ADOPT, bindings)
    return AdoptOutcome.ADOPTED


async def abandon(connection: Connection, session_id: str, reason: str, now: int) -> AbandonOutcome:
    """See ``Ledger.abandon``."""
    moved = await first_row(connection, _ABANDON, {"session_id": session_id, "reason": reason, "now": now})
    return AbandonOutcome.ABANDONED if moved else AbandonOutcome.NOT_PENDING


async def begin_close(connection: Connection, session_id: str, reason: str, now: int) -> CloseBegin:
    """See ``Ledger.begin_close``."""
    if await first_row(connection, _BEGIN_CLOSE, {"session_id": session_id, "reason": reason, "now": now}):
        return CloseBegin.STARTED
    return _NOT_STARTED[await _state(connection, session_id)]


async def mark_closing_on_chain(
    connection: Connection, session_id: str, reason: str, started_at: int, now: int
) -> CloseBegin:
    """See ``Ledger.mark_closing_on_chain``."""
    await connection.execute(_CLOSURE_STARTED, {"session_id": session_id, "started_at": started_at})
    return await begin_close(connection, session_id, reason, now)


async def update_deposit(connection: Connection, session_id: str, deposit: int, now: int) -> DepositOutcome:
    """See ``Ledger.update_deposit``."""
    bindings = {"session_id": session_id, "deposit": ledger_amount(deposit), "now": now}
    if await first_row(connection, _DEPOSIT, bindings):
        return DepositOutcome.APPLIED
    match await _state(connection, session_id):
        case None:
            return DepositOutcome.UNKNOWN
        case SessionState.ACTIVE | SessionState.CLOSING:
            return DepositOutcome.UNCHANGED
        case _:
            return DepositOutcome.NOT_OPEN


async def reland(connection: Connection, session_id: str, opened_at: int) -> RelandOutcome:
    """See ``Ledger.reland``."""
    taken = await first_row(connection, _RELAND, {"session_id": session_id, "opened_at": opened_at})
    if taken is None:
        return RelandOutcome.NOT_CLOSING
    await connection.execute(_UNPLAN, {"number": taken[0]})
    return RelandOutcome.TAKEN


async def page(
    connection: Connection, states: Collection[SessionState] | None, limit: int, after: int
) -> list[SessionRecord]:
    """See ``Ledger.sessions``."""
    wanted = None if states is None else [str(state) for state in states]
    rows = await all_rows(connection, _PAGE, {"states": wanted, "limit": limit, "after": after})
    return [held_record(row) for row in rows]


async def due(connection: Connection, now: int, limit: int) -> list[SessionRecord]:
    """See ``Ledger.due``."""
    return [held_record(row) for row in await all_rows(connection, _DUE, {"now": now, "limit": limit})]


async def closing(connection: Connection) -> list[str]:
    """See ``Ledger.closing``."""
    return [str(session_id) for (session_id,) in await all_rows(connection, _CLOSING, {})]


async def left_behind(connection: Connection, limit: int) -> list[SessionRecord]:
    """See ``Ledger.left_behind``."""
    return [held_record(row) for row in await all_rows(connection, _LEFT_BEHIND, {"limit": limit})]


async def account_gone(connection: Connection, session_id: str) -> None:
    """See ``Ledger.account_gone``."""
    await connection.execute(_ACCOUNT_GONE, {"session_id": session_id})


_NOT_STARTED: Final = {
    None: CloseBegin.UNKNOWN,
    SessionState.PENDING: CloseBegin.PENDING,
    # Active by now: it was activated since the UPDATE looked. The caller's next look closes it.
    SessionState.ACTIVE: CloseBegin.PENDING,
    SessionState.CLOSING: CloseBegin.ALREADY,
    SessionState.REFUNDED: CloseBegin.CLOSED,
    SessionState.ABANDONED: CloseBegin.CLOSED,
}


async def _state(connection: Connection, session_id: str) -> SessionState | None:
    row = await first_row(connection, _STATE, {"session_id": session_id})
    return None if row is None else SessionState(row[0])
