"""A request's money in SQL: reserved, then committed or released."""

import json
from typing import Final

import apsw
import msgspec
from msgspec.structs import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import AmountError
from retainer.protocol.usage import UsageEntry, entry_json, hash_after
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
from retainer_provider.books.stores import archive_sql, sqlite_streams
from retainer_provider.books.stores.rows import MOVING_COLUMNS, moved
from retainer_provider.books.stores.sqlite_holds import Holds
from retainer_provider.books.stores.sqlite_rows import first_row
from retainer_provider.books.stores.sqlite_sessions import load
from retainer_provider.books.usage import usage_entry

_ANSWER: Final = "SELECT fingerprint, status, headers, body, receipt FROM answer WHERE session = ? AND key = ?"
_AUTHORIZED: Final = "CASE voucher_signer WHEN 'client' THEN accepted ELSE deposit END"
_ACCEPT: Final = """
  UPDATE session SET accepted = :cumulative, voucher = :voucher
  WHERE number = :number AND state = 'active' AND voucher_signer = 'client'
    AND accepted < :cumulative AND :cumulative <= deposit AND :cumulative - spent >= :amount
  RETURNING number"""
# The guard: balance and everything else that bars a charge are read by the statement that takes the money.
_CHARGE: Final = f"""
  UPDATE session SET
    spent = spent + :amount, units_charged = units_charged + :units, sequence = sequence + 1,
    free_answers = free_answers + :free, last_activity_at = :now
  WHERE number = :number AND state IN ('active', 'closing') AND {_AUTHORIZED} - spent >= :amount
    AND (:free = 0 OR max_free_answers IS NULL OR free_answers < max_free_answers)
  RETURNING answer_bytes, {MOVING_COLUMNS}"""
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
    repeated = _repeated(connection, holds, session, request)
    if repeated is not None:
        return repeated
    amount = ledger_amount(request.amount)
    refusal = barred(session, request.now)
    if refusal is None and request.voucher is not None:
        refusal = _accept(connection, session, request.voucher, amount)
        if refusal is None:
            session = replace(session, accepted=request.voucher.voucher.cumulative, voucher=request.voucher)
    if refusal is not None:
        return ReserveResult(refusal, session=session)
    reservation = holds.take(session, request, amount)
    if reservation is None:
        return ReserveResult(ReserveOutcome.DEPLETED, session=session)
    held = replace(session, reserved=holds.of(session.session_id).amount)
    return ReserveResult(ReserveOutcome.RESERVED, reservation, session=held)


def commit(connection: apsw.Connection, holds: Holds, limits: AnswerLimits, end: Commit) -> CommitResult:
    """See ``Ledger.commit``."""
    reservation, charge = end.reservation, end.charge
    if not 0 <= charge.amount <= reservation.amount:
        raise AmountError(f"a charge of {charge.amount} base units was not reserved: {reservation.amount} were")
    before = holds.session_of(reservation)
    if before is None:
        return CommitResult(CommitOutcome.LOST)
    if holds.is_stream(reservation):
        sqlite_streams.forget(connection, reservation)
    bindings = {
        "number": before.number,
        "amount": charge.amount,
        "units": charge.units,
        "free": int(not charge.charged),
        "now": end.now,
    }
    row = first_row(connection, _CHARGE, bindings)
    if row is None:
        holds.give_back(reservation)
        return uncharged(load(connection, holds, reservation.session_id), charge)
    left = BaseUnits(holds.of(reservation.session_id).amount - reservation.amount)
    charged = moved(before, row[1:], left)
    entry = usage_entry(end, charged.sequence, charged.spent)
    text = entry_json(entry)
    root = hash_after(charged.usage_root, text)
    session = replace(charged, usage_root=root)
    answer = end.finish(CommitFacts(session, entry, root))
    number, key, room = session.number, reservation.key, limits.room(row[0])
    kept = 0 if key is None else _keep(connection, number, reservation, answer, room)
    connection.execute(_USAGE, (number, entry.sequence, text.decode(), root))
    connection.execute(_CHAIN, (root, kept, number))
    holds.give_back(reservation)
    return CommitResult(CommitOutcome.COMMITTED, session, entry.sequence, root, answer)


def release(holds: Holds, reservation: Reservation) -> ReleaseOutcome:
    """See ``Ledger.release``."""
    if holds.session_of(reservation) is None:
        return ReleaseOutcome.GONE
    if holds.cut(reservation):
        return ReleaseOutcome.CUT
    holds.give_back(reservation)
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
    connection: apsw.Connection, holds: Holds, session: SessionRecord, request: ReserveRequest
) -> ReserveResult | None:
    if request.key is None:
        return None
    running = holds.running(session.session_id, request.key)
    if running is not None:
        same = running == request.fingerprint
        return ReserveResult(ReserveOutcome.IN_FLIGHT if same else ReserveOutcome.CONFLICT, session=session)
    stored = first_row(connection, _ANSWER, (session.number, request.key))
    if stored is None:
        return None
    first, status, headers, body, receipt = stored
    if first != request.fingerprint:
        return ReserveResult(ReserveOutcome.CONFLICT, session=session)
    pairs = tuple((name, value) for name, value in json.loads(headers))
    return ReserveResult(ReserveOutcome.REPLAY, answer=StoredAnswer(status, pairs, body, receipt), session=session)


def _keep(connection: apsw.Connection, number: int, reservation: Reservation, answer: StoredAnswer, room: int) -> int:
    """Store the answer for replay, without its body where that is over ``room``; returns the bytes stored."""
    body = answer.body if answer.body is not None and len(answer.body) <= room else None
    headers = msgspec.json.encode(answer.headers).decode()
    values = (number, reservation.key, reservation.fingerprint, answer.status, headers, body, answer.receipt)
    connection.execute(_KEEP, values)
    return len(body or b"")
