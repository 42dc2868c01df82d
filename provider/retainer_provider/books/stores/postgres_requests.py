"""A request's money in PostgreSQL: reserved for one process under its lease, then committed or released.

Each transaction locks the session's row first. So those of one session follow each other, in whatever process they
run, each sees what the one before it wrote, and none waits for another in a circle.
"""

import json
from typing import Final

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
from retainer_provider.books.stores import archive_sql, postgres_streams
from retainer_provider.books.stores.postgres_rows import HELD_COLUMNS, Connection, all_rows, first_row, held_record
from retainer_provider.books.stores.postgres_sessions import load
from retainer_provider.books.usage import usage_entry

_REPEATED: Final = """
  SELECT fingerprint, status, headers, body, receipt FROM answer WHERE session = %(number)s AND key = %(key)s
  UNION ALL
  SELECT fingerprint, NULL, NULL, NULL, NULL FROM reservation WHERE session = %(number)s AND key = %(key)s"""
_AUTHORIZED: Final = "CASE voucher_signer WHEN 'client' THEN accepted ELSE deposit END"
# The guard: balance and everything else that bars a request are read by the statement that takes the money.
_HOLD: Final = f"""
  WITH held AS (
    UPDATE session SET reserved = reserved + %(amount)s, in_flight = in_flight + 1
    WHERE number = %(number)s AND state = 'active' AND {_AUTHORIZED} - spent - reserved >= %(amount)s
    RETURNING number, reserved
  )
  INSERT INTO reservation (session, epoch, key, fingerprint, amount)
  SELECT number, %(epoch)s, %(key)s, %(fingerprint)s, %(amount)s FROM held
  RETURNING id, (SELECT reserved FROM held)"""
_ACCEPT: Final = """
  UPDATE session SET accepted = %(cumulative)s, voucher = %(voucher)s
  WHERE number = %(number)s AND state = 'active' AND voucher_signer = 'client'
    AND accepted < %(cumulative)s AND %(cumulative)s <= deposit AND %(cumulative)s - spent >= %(amount)s
  RETURNING number"""
_TAKE: Final = "DELETE FROM reservation WHERE id = %(id)s AND epoch = %(epoch)s RETURNING amount"
_UNHOLD: Final = """
  UPDATE session SET reserved = reserved - %(held)s, in_flight = in_flight - 1 WHERE number = %(number)s"""
_LOCK: Final = "SELECT number FROM session WHERE session_id = %(session_id)s FOR NO KEY UPDATE"
# The fence: no charge under another epoch than the reservation's, or after its lease.
_CHARGE: Final = f"""
  WITH taken AS (
    DELETE FROM reservation USING process
    WHERE reservation.id = %(id)s AND reservation.epoch = %(epoch)s
      AND process.epoch = reservation.epoch AND process.lease_until > clock_timestamp()
    RETURNING reservation.amount AS held
  ), charged AS (
    UPDATE session SET
      reserved = reserved - held, in_flight = in_flight - 1,
      spent = spent + %(amount)s, units_charged = units_charged + %(units)s, sequence = sequence + 1,
      free_answers = free_answers + %(free)s, last_activity_at = %(now)s
    FROM taken
    WHERE number = %(number)s AND state IN ('active', 'closing') AND {_AUTHORIZED} - spent >= %(amount)s
      AND (%(free)s = 0 OR max_free_answers IS NULL OR free_answers < max_free_answers)
    RETURNING answer_bytes, {HELD_COLUMNS}
  )
  SELECT held, charged.* FROM taken LEFT JOIN charged ON TRUE"""
_CHAIN: Final = (
    "UPDATE session SET usage_root = %(root)s, answer_bytes = answer_bytes + %(kept)s WHERE number = %(number)s"
)
_KEEP: Final = """
  INSERT INTO answer (session, key, fingerprint, status, headers, body, receipt)
  VALUES (%(number)s, %(key)s, %(fingerprint)s, %(status)s, %(headers)s, %(body)s, %(receipt)s)"""
_USAGE: Final = (
    "INSERT INTO usage (session, sequence, entry, hash) VALUES (%(number)s, %(sequence)s, %(entry)s, %(root)s)"
)
_BOOK: Final = f"WITH chained AS ({_CHAIN}) {_USAGE}"
_BOOK_AND_KEEP: Final = f"WITH chained AS ({_CHAIN}), kept AS ({_KEEP}) {_USAGE}"
_USAGE_PAGE: Final = """
  SELECT entry FROM usage
  WHERE session = (SELECT number FROM session WHERE session_id = %(session_id)s) AND sequence > %(after)s
  ORDER BY sequence LIMIT %(limit)s"""
_PURGE: Final = """
  DELETE FROM answer WHERE id IN (
    SELECT answer.id FROM session JOIN answer ON answer.session = session.number
    WHERE session.state = 'refunded' AND session.closed_at < %(closed_before)s LIMIT %(limit)s
  )"""


async def reserve(connection: Connection, epoch: int, request: ReserveRequest) -> ReserveResult:
    """See ``Ledger.reserve``. The reservation is that of the process whose turn ``epoch`` is."""
    session = await load(connection, request.session_id, lock=True)
    if session is None:
        return ReserveResult(ReserveOutcome.UNKNOWN)
    if request.key is not None:
        repeated = await _repeated(connection, session, request.key, request.fingerprint)
        if repeated is not None:
            return repeated
    amount = ledger_amount(request.amount)
    refusal = barred(session, request.now)
    if refusal is None and request.voucher is not None:
        refusal = await _accept(connection, session, request.voucher, amount)
        if refusal is None:
            session = replace(session, accepted=request.voucher.voucher.cumulative, voucher=request.voucher)
    if refusal is not None:
        return ReserveResult(refusal, session=session)
    bindings = {
        "number": session.number,
        "epoch": epoch,
        "key": request.key,
        "fingerprint": request.fingerprint,
        "amount": amount,
    }
    held = await first_row(connection, _HOLD, bindings)
    if held is None:
        return ReserveResult(ReserveOutcome.DEPLETED, session=session)
    number, reserved = held
    reservation = Reservation(
        id=number,
        session_id=session.session_id,
        key=request.key,
        fingerprint=request.fingerprint,
        amount=amount,
        units=request.units,
        epoch=epoch,
    )
    return ReserveResult(ReserveOutcome.RESERVED, reservation, session=replace(session, reserved=BaseUnits(reserved)))


async def commit(connection: Connection, limits: AnswerLimits, end: Commit) -> CommitResult:
    """See ``Ledger.commit``."""
    reservation, charge = end.reservation, end.charge
    if not 0 <= charge.amount <= reservation.amount:
        raise AmountError(f"a charge of {charge.amount} base units was not reserved: {reservation.amount} were")
    locked = await first_row(connection, _LOCK, {"session_id": reservation.session_id})
    if locked is None:
        return CommitResult(CommitOutcome.LOST)
    bindings = {
        "id": reservation.id,
        "epoch": reservation.epoch,
        "number": locked[0],
        "amount": charge.amount,
        "units": charge.units,
        "free": int(not charge.charged),
        "now": end.now,
    }
    row = await first_row(connection, _CHARGE, bindings)
    if row is None:
        return CommitResult(CommitOutcome.LOST)
    held, answer_bytes, *columns = row
    if answer_bytes is None:
        await connection.execute(_UNHOLD, {"number": locked[0], "held": held})
        return uncharged(await load(connection, reservation.session_id), charge)
    charged = held_record(columns)
    entry = usage_entry(end, charged.sequence, charged.spent)
    text = entry_json(entry)
    root = hash_after(charged.usage_root, text)
    session = replace(charged, usage_root=root)
    answer = end.finish(CommitFacts(session, entry, root))
    booked = {"number": session.number, "sequence": entry.sequence, "entry": text.decode(), "root": root, "kept": 0}
    if reservation.key is None:
        await connection.execute(_BOOK, booked)
    else:
        await connection.execute(_BOOK_AND_KEEP, booked | _kept(reservation, answer, limits.room(answer_bytes)))
    return CommitResult(CommitOutcome.COMMITTED, session, entry.sequence, root, answer)


async def release(connection: Connection, reservation: Reservation) -> ReleaseOutcome:
    """See ``Ledger.release``."""
    session = await load(connection, reservation.session_id, lock=True)
    if await postgres_streams.cut(connection, reservation):
        return ReleaseOutcome.CUT
    taken = session and await first_row(connection, _TAKE, {"id": reservation.id, "epoch": reservation.epoch})
    if session is None or not taken:
        return ReleaseOutcome.GONE
    await connection.execute(_UNHOLD, {"number": session.number, "held": taken[0]})
    return ReleaseOutcome.RELEASED


async def purge_answers(connection: Connection, closed_before: int, limit: int) -> int:
    """See ``Ledger.purge_answers``."""
    cursor = await connection.execute(_PURGE, {"closed_before": closed_before, "limit": limit})
    return cursor.rowcount


async def old_logs(connection: Connection, closed_before: int, limit: int) -> list[str]:
    """See ``Ledger.old_logs``."""
    bindings = {"closed_before": closed_before, "limit": limit}
    sql = archive_sql.old_logs("%(closed_before)s", "%(limit)s")
    return [str(found) for (found,) in await all_rows(connection, sql, bindings)]


async def forget_log(connection: Connection, session_id: str, usage_root: bytes) -> int:
    """See ``Ledger.forget_log``."""
    sql = archive_sql.forget_log("%(session_id)s", "%(usage_root)s")
    return (await connection.execute(sql, {"session_id": session_id, "usage_root": usage_root})).rowcount


async def usage(connection: Connection, session_id: str, after: int, limit: int) -> list[UsageEntry]:
    """See ``Ledger.usage``."""
    rows = await all_rows(connection, _USAGE_PAGE, {"session_id": session_id, "after": after, "limit": limit})
    return [UsageEntry.from_json(json.loads(str(entry))) for (entry,) in rows]


async def _accept(
    connection: Connection, session: SessionRecord, signed: SignedVoucher, amount: int
) -> ReserveOutcome | None:
    """Keep a voucher that pays for ``amount`` before anything is served for it; None once it is kept."""
    refusal = voucher_refusal(session, signed, amount)
    if refusal is not None or signed == session.voucher:
        return refusal
    cumulative = signed.voucher.cumulative
    text = json.dumps(voucher_to_json(signed))
    bindings = {"number": session.number, "cumulative": cumulative, "voucher": text, "amount": amount}
    return None if await first_row(connection, _ACCEPT, bindings) else ReserveOutcome.VOUCHER_LOW


async def _repeated(
    connection: Connection, session: SessionRecord, key: str, fingerprint: bytes
) -> ReserveResult | None:
    where = {"number": session.number, "key": key}
    found = await first_row(connection, _REPEATED, where)
    if found is None:
        return None
    first, status, headers, body, receipt = found
    if first != fingerprint:
        return ReserveResult(ReserveOutcome.CONFLICT, session=session)
    if status is None:
        return ReserveResult(ReserveOutcome.IN_FLIGHT, session=session)
    pairs = tuple((name, value) for name, value in json.loads(headers))
    return ReserveResult(ReserveOutcome.REPLAY, answer=StoredAnswer(status, pairs, body, receipt), session=session)


def _kept(reservation: Reservation, answer: StoredAnswer, room: int) -> dict[str, object]:
    """The answer as it is stored for replay, without its body where that is over ``room``; and the bytes of that."""
    body = answer.body if answer.body is not None and len(answer.body) <= room else None
    return {
        "key": reservation.key,
        "fingerprint": reservation.fingerprint,
        "status": answer.status,
        "headers": json.dumps(answer.headers),
        "body": body,
        "receipt": answer.receipt,
        "kept": len(body or b""),
    }
