"""A request's money in SQL: reserved, then committed or released."""

import json
from typing import Final

import apsw
from msgspec.structs import replace

from retainer.protocol.errors import AmountError
from retainer.protocol.usage import UsageEntry, chain_hash
from retainer.protocol.vouchers import SignedVoucher, voucher_to_json
from retainer_provider.books.admission import barred, uncharged, voucher_refusal
from retainer_provider.books.outcomes import (
    CommitOutcome,
    CommitResult,
    ReleaseOutcome,
    ReserveOutcome,
    ReserveResult,
)
from retainer_provider.books.records import (
    AnswerLimits,
    Commit,
    CommitFacts,
    Reservation,
    ReserveRequest,
    SessionRecord,
    StoredAnswer,
    ledger_amount,
)
from retainer_provider.books.stores import archive_sql
from retainer_provider.books.stores.rows import SESSION_COLUMNS, session_record
from retainer_provider.books.stores.sqlite_holds import Hold, Holds
from retainer_provider.books.stores.sqlite_rows import first_row
from retainer_provider.books.stores.sqlite_sessions import load
from retainer_provider.books.usage import usage_entry

_ANSWER: Final = "SELECT fingerprint, status, headers, body, receipt FROM answer WHERE session = ? AND key = ?"
_RUNNING: Final = "SELECT fingerprint FROM temp.reservation WHERE session = ? AND key = ?"
# The guard: balance and everything else that bars a request are read by the statement that takes the money.
_AUTHORIZED: Final = "CASE voucher_signer WHEN 'client' THEN accepted ELSE deposit END"
_HOLD: Final = f"""
  INSERT INTO temp.held (session, amount, requests)
  SELECT number, :amount, 1 FROM main.session
  WHERE number = :number AND state = 'active' AND {_AUTHORIZED} - spent >= :amount
  ON CONFLICT (session) DO UPDATE SET amount = amount + excluded.amount, requests = requests + 1
  WHERE (SELECT {_AUTHORIZED} - spent FROM main.session WHERE number = excluded.session) - amount >= excluded.amount
  RETURNING amount, requests"""
_ACCEPT: Final = """
  UPDATE session SET accepted = :cumulative, voucher = :voucher
  WHERE number = :number AND state = 'active' AND voucher_signer = 'client'
    AND accepted < :cumulative AND :cumulative <= deposit AND :cumulative - spent >= :amount
  RETURNING number"""
_RESERVE: Final = "INSERT INTO temp.reservation (session, key, fingerprint, amount) VALUES (?, ?, ?, ?)"
_DROP: Final = "DELETE FROM temp.reservation WHERE id = ? RETURNING session, amount"
_UNHOLD: Final = """
  UPDATE temp.held SET amount = amount - ?2, requests = requests - 1 WHERE session = ?1 RETURNING amount, requests"""
_FORGET: Final = "DELETE FROM temp.held WHERE session = ? AND requests = 0"
_CHARGE: Final = f"""
  UPDATE session SET
    spent = spent + :amount, units_charged = units_charged + :units, sequence = sequence + 1,
    free_answers = free_answers + :free, last_activity_at = :now
  WHERE number = :number AND state IN ('active', 'closing') AND {_AUTHORIZED} - spent >= :amount
    AND (:free = 0 OR max_free_answers IS NULL OR free_answers < max_free_answers)
  RETURNING {SESSION_COLUMNS}, sequence, spent, usage_root, answer_bytes"""
_CHAIN: Final = "UPDATE session SET usage_root = ?, answer_bytes = answer_bytes + ? WHERE number = ?"
_USAGE: Final = "INSERT INTO usage (session, sequence, entry, hash) VALUES (?, ?, ?, ?)"
_USAGE_PAGE: Final = """
  SELECT entry FROM usage WHERE session = (SELECT number FROM session WHERE session_id = ?) AND sequence > ?
  ORDER BY sequence LIMIT ?"""
_KEEP: Final = """
  INSERT INTO answer (session, key, fingerprint, status, headers, body, receipt) VALUES (?, ?, ?, ?, ?, ?, ?)"""
_PURGE: Final = """
  DELETE FROM answer WHERE id IN (
    SELECT answer.id FROM session JOIN answer ON answer.session = session.number
    WHERE session.state = 'refunded' AND session.closed_at < ? LIMIT ?
  )"""


def reserve(connection: apsw.Connection, holds: Holds, request: ReserveRequest) -> ReserveResult:
    """See ``Ledger.reserve``."""
    session = load(connection, holds, request.session_id)
    if session is None:
        return ReserveResult(ReserveOutcome.UNKNOWN)
    if request.key is not None:
        repeated = _repeated(connection, session, request.key, request.fingerprint)
        if repeated is not None:
            return repeated
    amount = ledger_amount(request.amount)
    refusal = barred(session, request.now)
    if refusal is None and request.voucher is not None:
        refusal = _accept(connection, session, request.voucher, amount)
    if refusal is not None:
        return ReserveResult(refusal, session=session)
    held = first_row(connection, _HOLD, {"number": session.number, "amount": amount})
    if held is None:
        return ReserveResult(ReserveOutcome.DEPLETED, session=session)
    hold = Hold(*held)
    values = (session.number, request.key, request.fingerprint, amount)
    connection.execute(_RESERVE, values)
    reservation = Reservation(
        id=connection.last_insert_rowid(),
        session_id=session.session_id,
        key=request.key,
        fingerprint=request.fingerprint,
        amount=amount,
        units=request.units,
    )
    holds.put(session.session_id, hold)
    return ReserveResult(ReserveOutcome.RESERVED, reservation, session=replace(session, reserved=hold.amount))


def commit(connection: apsw.Connection, holds: Holds, limits: AnswerLimits, end: Commit) -> CommitResult:
    """See ``Ledger.commit``."""
    reservation, charge = end.reservation, end.charge
    if not 0 <= charge.amount <= reservation.amount:
        raise AmountError(f"a charge of {charge.amount} base units was not reserved: {reservation.amount} were")
    taken = _take_back(connection, reservation)
    if taken is None:
        return CommitResult(CommitOutcome.LOST)
    number, hold = taken
    bindings = {
        "number": number,
        "amount": charge.amount,
        "units": charge.units,
        "free": int(not charge.charged),
        "now": end.now,
    }
    row = first_row(connection, _CHARGE, bindings)
    if row is None:
        holds.put(reservation.session_id, hold)
        return uncharged(load(connection, holds, reservation.session_id), charge)
    *columns, sequence, spent, previous_root, answer_bytes = row
    entry = usage_entry(end, sequence, spent)
    root = chain_hash(previous_root, entry)
    session = session_record(columns, hold.amount, usage_root=root)
    answer = end.finish(CommitFacts(session, entry, root))
    kept = 0 if reservation.key is None else _keep(connection, number, reservation, answer, limits.room(answer_bytes))
    connection.execute(_USAGE, (number, entry.sequence, json.dumps(entry.to_json()), root))
    connection.execute(_CHAIN, (root, kept, number))
    holds.put(reservation.session_id, hold)
    return CommitResult(CommitOutcome.COMMITTED, session, entry.sequence, root, answer)


def release(connection: apsw.Connection, holds: Holds, reservation: Reservation) -> ReleaseOutcome:
    """See ``Ledger.release``."""
    taken = _take_back(connection, reservation)
    if taken is None:
        return ReleaseOutcome.GONE
    holds.put(reservation.session_id, taken[1])
    return ReleaseOutcome.RELEASED


def purge_answers(connection: apsw.Connection, closed_before: int, limit: int) -> int:
    """See ``Ledger.purge_answers``."""
    connection.execute(_PURGE, (closed_before, limit))
    return connection.changes()


def old_logs(connection: apsw.Connection, closed_before: int, limit: int) -> list[str]:
    """See ``Ledger.old_logs``."""
    return [str(found) for (found,) in connection.execute(archive_sql.old_logs("?", "?"), (closed_before, limit))]


def forget_log(connection: apsw.Connection, session_id: str, usage_root: bytes) -> int:
    """See ``Ledger.forget_log``."""
    connection.execute(archive_sql.forget_log("?", "?"), (session_id, usage_root))
    return connection.changes()


def usage(connection: apsw.Connection, session_id: str, after: int, limit: int) -> list[UsageEntry]:
    """See ``Ledger.usage``."""
    rows = connection.execute(_USAGE_PAGE, (session_id, after, limit))
    return [UsageEntry.from_json(json.loads(str(entry))) for (entry,) in rows]


def _accept(
    connection: apsw.Connection, session: SessionRecord, signed: SignedVoucher, amount: int
) -> ReserveOutcome | None:
    """Keep a voucher that pays for ``amount`` before anything is served for it; None once it is kept."""
    refusal = voucher_refusal(session, signed, amount)
    if refusal is not None or signed == session.voucher:
        return refusal
    text = json.dumps(voucher_to_json(signed))
    bindings = {
        "number": session.number,
        "cumulative": signed.voucher.cumulative,
        "voucher": text,
        "amount": amount,
    }
    return None if first_row(connection, _ACCEPT, bindings) else ReserveOutcome.VOUCHER_LOW


def _repeated(
    connection: apsw.Connection, session: SessionRecord, key: str, fingerprint: bytes
) -> ReserveResult | None:
    where = (session.number, key)
    stored = first_row(connection, _ANSWER, where)
    if stored is not None:
        first, status, headers, body, receipt = stored
        if first != fingerprint:
            return ReserveResult(ReserveOutcome.CONFLICT, session=session)
        pairs = tuple((name, value) for name, value in json.loads(headers))
        return ReserveResult(ReserveOutcome.REPLAY, answer=StoredAnswer(status, pairs, body, receipt), session=session)
    running = first_row(connection, _RUNNING, where)
    if running is None:
        return None
    same = running[0] == fingerprint
    return ReserveResult(ReserveOutcome.IN_FLIGHT if same else ReserveOutcome.CONFLICT, session=session)


def _take_back(connection: apsw.Connection, reservation: Reservation) -> tuple[int, Hold] | None:
    dropped = first_row(connection, _DROP, (reservation.id,))
    left = dropped and first_row(connection, _UNHOLD, dropped)
    if dropped is None or left is None:
        return None
    hold = Hold(*left)
    if not hold.requests:
        connection.execute(_FORGET, dropped[:1])
    return dropped[0], hold


def _keep(connection: apsw.Connection, number: int, reservation: Reservation, answer: StoredAnswer, room: int) -> int:
    """Store the answer for replay, without its body where that is over ``room``; returns the bytes stored."""
    body = answer.body if answer.body is not None and len(answer.body) <= room else None
    headers = json.dumps(answer.headers)
    values = (number, reservation.key, reservation.fingerprint, answer.status, headers, body, answer.receipt)
    connection.execute(_KEEP, values)
    return len(body or b"")
