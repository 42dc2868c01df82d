"""A session's life in SQL: admitted, active, closing. Every move is one conditional UPDATE."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeAlias

import apsw

from retainer.protocol.amounts import BaseUnits
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
from retainer_provider.books.stores import sqlite_transfers
from retainer_provider.books.stores.rows import NEW_FIELDS, SESSION_COLUMNS, session_bindings, session_record
from retainer_provider.books.stores.sqlite_rows import first_row
from retainer_provider.books.stores.sqlite_standings import Figures

Held: TypeAlias = Callable[[str], BaseUnits]
"""What running requests of a session hold."""

FIGURES_COLUMNS: Final = f"{SESSION_COLUMNS}, answer_bytes"
"""Select list for ``figures_of``."""

_SESSION_ID: Final = SESSION_COLUMNS.split(", ").index("session_id")
_LOAD: Final = f"SELECT {SESSION_COLUMNS} FROM session WHERE session_id = ?"
_FIGURES: Final = f"SELECT {FIGURES_COLUMNS} FROM session WHERE session_id = ?"
_STATE: Final = "SELECT state FROM session WHERE session_id = ?"
_ADMIT: Final = f"""
  INSERT INTO session ({", ".join(NEW_FIELDS)}, state, usage_root, last_activity_at)
  VALUES ({", ".join(":" + field for field in NEW_FIELDS)}, 'pending', :usage_root, :created_at)
  ON CONFLICT (session_id) DO NOTHING RETURNING {SESSION_COLUMNS}"""
_ACTIVATE: Final = """
  UPDATE session SET
    state = 'active', deposit = :deposit, grace_period = :grace_period, opened_at = :opened_at,
    closure_started_at = :closure_started_at, last_activity_at = :now,
    creation_signature = coalesce(:signature, creation_signature)
  WHERE session_id = :session_id AND state = 'pending' RETURNING number"""
_ADOPT: Final = """
  UPDATE session SET
    state = 'closing', closing_reason = :reason, spent = :spent, units_charged = :units,
    sequence = :sequence, usage_root = :usage_root, accepted = :accepted, voucher = :voucher
  WHERE session_id = :session_id AND state = 'active'"""
_ABANDON: Final = """
  UPDATE session SET state = 'abandoned', closing_reason = :reason, closed_at = :now
  WHERE session_id = :session_id AND state = 'pending'
    AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.session = session.number AND stage = 'expected')
  RETURNING number"""
_BEGIN_CLOSE: Final = """
  UPDATE session SET state = 'closing', closing_reason = :reason, last_activity_at = :now
  WHERE session_id = :session_id AND state = 'active' RETURNING number"""
_CLOSURE_STARTED: Final = """
  UPDATE session SET closure_started_at = :started_at
  WHERE session_id = :session_id AND state IN ('active', 'closing')"""
_DEPOSIT: Final = """
  UPDATE session SET deposit = :deposit, last_activity_at = :now
  WHERE session_id = :session_id AND state IN ('active', 'closing') AND deposit < :deposit RETURNING number"""
_PAGE: Final = f"""
  SELECT {SESSION_COLUMNS} FROM session
  WHERE number > :after AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
  ORDER BY number LIMIT :limit"""
_DUE: Final = f"""
  SELECT {SESSION_COLUMNS} FROM session
  WHERE state = 'active' AND (
    (expires_at > 0 AND expires_at <= :now)
    OR (idle_timeout > 0 AND last_activity_at + idle_timeout <= :now)
  )
  ORDER BY deadline NULLS LAST, number LIMIT :limit"""
_LEFT_BEHIND: Final = f"SELECT {SESSION_COLUMNS} FROM session WHERE account_left = 1 ORDER BY number LIMIT ?"
_ACCOUNT_GONE: Final = "UPDATE session SET account_left = 0 WHERE session_id = ?"
_CLOSING: Final = "SELECT session_id FROM session WHERE state = 'closing' ORDER BY deadline NULLS LAST, number"
_RELAND: Final = """
  UPDATE session SET opened_at = :opened_at
  WHERE session_id = :session_id AND state = 'closing'
    AND NOT EXISTS (SELECT 1 FROM settlement WHERE session = number AND stage <> 'planned')
  RETURNING number"""
_UNPLAN: Final = "DELETE FROM settlement WHERE session = ?"


def load(connection: apsw.Connection, held: Held, session_id: str) -> SessionRecord | None:
    """The session as committed."""
    row = first_row(connection, _LOAD, (session_id,))
    return None if row is None else _held_record(row, held)


def figures(connection: apsw.Connection, session_id: str) -> Figures | None:
    """The session's row as this connection sees it, for who goes on from it."""
    row = first_row(connection, _FIGURES, (session_id,))
    return None if row is None else figures_of(row)


def figures_of(row: Sequence[Any]) -> Figures:
    """The figures of a row selected by FIGURES_COLUMNS."""
    *columns, answer_bytes = row
    return Figures(session_record(columns, BaseUnits(0)), answer_bytes)


def admit(connection: apsw.Connection, held: Held, new: NewSession) -> AdmitResult:
    """See ``Ledger.admit``. The id binds payer, payee, mint, signer, salt and slot; the challenge binds the offer."""
    row = first_row(connection, _ADMIT, session_bindings(new) | {"usage_root": EMPTY_ROOT})
    if row is not None:
        return AdmitResult(AdmitOutcome.ADMITTED, session_record(row, BaseUnits(0)))
    known = load(connection, held, new.session_id)
    if known is None:
        raise LedgerError(f"session {new.session_id} is neither new nor known; run PRAGMA integrity_check")
    same = known.challenge_id == new.challenge_id
    return AdmitResult(AdmitOutcome.KNOWN_SAME if same else AdmitOutcome.KNOWN_OTHER, known)


def activate(
    connection: apsw.Connection, session_id: str, account: SessionAccount, signature: str | None, now: int
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
    if first_row(connection, _ACTIVATE, bindings):
        return ActivateOutcome.ACTIVATED
    known = _state(connection, session_id) is SessionState.ACTIVE
    return ActivateOutcome.ALREADY_ACTIVE if known else ActivateOutcome.NOT_PENDING


def adopt(connection: apsw.Connection, held: Held, adoption: Adoption) -> AdoptOutcome:
    """See ``Ledger.adopt``."""
    new, voucher = adoption.new, adoption.voucher
    if (admit(connection, held, new)).outcome is not AdmitOutcome.ADMITTED:
        return AdoptOutcome.KNOWN
    if adoption.account is not None:
        activate(connection, new.session_id, adoption.account, None, adoption.now)
    for transfer in adoption.transfers:
        sqlite_transfers.expect_transfer(connection, new.session_id, transfer)
        sqlite_transfers.credit_transfer(connection, new.session_id, transfer.signature, new.created_at)
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
    connection.execute(_ADOPT, bindings)
    return AdoptOutcome.ADOPTED


def abandon(connection: apsw.Connection, session_id: str, reason: str, now: int) -> AbandonOutcome:
    """See ``Ledger.abandon``."""
    bindings = {"session_id": session_id, "reason": reason, "now": now}
    moved = first_row(connection, _ABANDON, bindings)
    return AbandonOutcome.ABANDONED if moved else AbandonOutcome.NOT_PENDING


def begin_close(connection: apsw.Connection, session_id: str, reason: str, now: int) -> CloseBegin:
    """See ``Ledger.begin_close``."""
    bindings = {"session_id": session_id, "reason": reason, "now": now}
    if first_row(connection, _BEGIN_CLOSE, bindings):
        return CloseBegin.STARTED
    return _NOT_STARTED[_state(connection, session_id)]


def mark_closing_on_chain(
    connection: apsw.Connection, session_id: str, reason: str, started_at: int, now: int
) -> CloseBegin:
    """See ``Ledger.mark_closing_on_chain``."""
    connection.execute(_CLOSURE_STARTED, {"session_id": session_id, "started_at": started_at})
    return begin_close(connection, session_id, reason, now)


def update_deposit(connection: apsw.Connection, session_id: str, deposit: int, now: int) -> DepositOutcome:
    """See ``Ledger.update_deposit``."""
    bindings = {"session_id": session_id, "deposit": ledger_amount(deposit), "now": now}
    if first_row(connection, _DEPOSIT, bindings):
        return DepositOutcome.APPLIED
    match _state(connection, session_id):
        case None:
            return DepositOutcome.UNKNOWN
        case SessionState.ACTIVE | SessionState.CLOSING:
            return DepositOutcome.UNCHANGED
        case _:
            return DepositOutcome.NOT_OPEN


def reland(connection: apsw.Connection, session_id: str, opened_at: int) -> RelandOutcome:
    """See ``Ledger.reland``."""
    taken = first_row(connection, _RELAND, {"session_id": session_id, "opened_at": opened_at})
    if taken is None:
        return RelandOutcome.NOT_CLOSING
    connection.execute(_UNPLAN, taken)
    return RelandOutcome.TAKEN


def page(
    connection: apsw.Connection, held: Held, states: Collection[SessionState] | None, limit: int, after: int
) -> list[SessionRecord]:
    """See ``Ledger.sessions``."""
    wanted = None if states is None else json.dumps([str(state) for state in states])
    rows = connection.execute(_PAGE, {"states": wanted, "limit": limit, "after": after})
    return [_held_record(row, held) for row in rows]


def due(connection: apsw.Connection, held: Held, now: int, limit: int) -> list[SessionRecord]:
    """See ``Ledger.due``."""
    return [_held_record(row, held) for row in connection.execute(_DUE, {"now": now, "limit": limit})]


def closing(connection: apsw.Connection) -> list[str]:
    """See ``Ledger.closing``."""
    return [str(session_id) for (session_id,) in connection.execute(_CLOSING)]


def left_behind(connection: apsw.Connection, held: Held, limit: int) -> list[SessionRecord]:
    """See ``Ledger.left_behind``."""
    return [_held_record(row, held) for row in connection.execute(_LEFT_BEHIND, (limit,))]


def account_gone(connection: apsw.Connection, session_id: str) -> None:
    """See ``Ledger.account_gone``."""
    connection.execute(_ACCOUNT_GONE, (session_id,))


_NOT_STARTED: Final = {
    None: CloseBegin.UNKNOWN,
    SessionState.PENDING: CloseBegin.PENDING,
    SessionState.CLOSING: CloseBegin.ALREADY,
    SessionState.REFUNDED: CloseBegin.CLOSED,
    SessionState.ABANDONED: CloseBegin.CLOSED,
}


def _state(connection: apsw.Connection, session_id: str) -> SessionState | None:
    row = first_row(connection, _STATE, (session_id,))
    return None if row is None else SessionState(row[0])


def _held_record(row: Sequence[Any], held: Held) -> SessionRecord:
    return session_record(row, held(row[_SESSION_ID]))
