"""Debits in PostgreSQL: many requests reserved, and many charged, booked and answered, in one transaction.

The sessions' rows are locked first. Only then are keys and reservations looked up, by statements of their own, which
see what was committed while a row was waited for; and what is decided from all of it holds until the transaction ends.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from retainer.protocol.vouchers import voucher_to_json
from retainer_provider.books.outcomes import CommitOutcome, CommitResult, ReserveOutcome, ReserveResult
from retainer_provider.books.records import (
    AnswerLimits,
    Commit,
    Reservation,
    ReserveRequest,
    SessionRecord,
    StoredAnswer,
    ledger_amount,
)
from retainer_provider.books.stores.postgres_account import Account, Known
from retainer_provider.books.stores.postgres_pool import UndoneError
from retainer_provider.books.stores.postgres_rows import HELD_COLUMNS, Connection, Row, all_rows, held_record

Debit: TypeAlias = ReserveRequest | Commit
Result: TypeAlias = ReserveResult | CommitResult

_Number: TypeAlias = int  # of a session

_LOCK: Final = f"SELECT {HELD_COLUMNS}, answer_bytes FROM session WHERE session_id = ANY (%(ids)s) FOR NO KEY UPDATE"
_LOCK_NOW: Final = _LOCK + " SKIP LOCKED"
_KNOWN: Final = """
  WITH wanted AS (SELECT * FROM unnest(%(numbers)s::bigint[], %(keys)b::text[]) AS wanted (session, key))
  SELECT session, key, fingerprint, status, headers, body, receipt FROM wanted JOIN answer USING (session, key)
  UNION ALL
  SELECT session, key, fingerprint, NULL, NULL, NULL, NULL FROM wanted JOIN reservation USING (session, key)"""
# The fence: nothing is charged under another epoch than the reservation's, or after its lease.
_TAKE: Final = """
  DELETE FROM reservation USING process, unnest(%(ids)s::bigint[], %(epochs)s::bigint[]) AS ended (id, epoch)
  WHERE reservation.id = ended.id AND reservation.epoch = ended.epoch
    AND process.epoch = reservation.epoch AND process.lease_until > clock_timestamp()
  RETURNING reservation.id, reservation.amount"""
_AUTHORIZED: Final = "CASE voucher_signer WHEN 'client' THEN coalesce(signed, session.accepted) ELSE deposit END"
# The guard: balance and everything else that bars a debit are read once more by the statement that takes the money.
_WRITE: Final = f"""
  WITH written AS (
    UPDATE session SET
      reserved = session.reserved + held, in_flight = in_flight + taken - ended,
      accepted = coalesce(signed, session.accepted), voucher = coalesce(moved.voucher, session.voucher),
      spent = spent + amount, units_charged = units_charged + units, sequence = sequence + entries,
      free_answers = free_answers + free, last_activity_at = active_at, usage_root = root, answer_bytes = kept
    FROM unnest(%(numbers)s::bigint[], %(taken)s::bigint[], %(ended)s::bigint[], %(held)s::bigint[],
      %(signed)s::bigint[], %(vouchers)b::text[], %(amounts)s::bigint[], %(units)s::bigint[], %(entries)s::bigint[],
      %(free)s::bigint[], %(active_at)s::bigint[], %(roots)b::bytea[], %(kept)s::bigint[])
      AS moved (number, taken, ended, held, signed, voucher, amount, units, entries, free, active_at, root, kept)
    WHERE session.number = moved.number
      AND (taken = 0 OR state = 'active' AND {_AUTHORIZED} >= spent + amount + session.reserved + held)
      AND (signed IS NULL OR voucher_signer = 'client' AND session.accepted < signed AND signed <= deposit)
      AND (entries = 0 OR state IN ('active', 'closing') AND {_AUTHORIZED} >= spent + amount)
      AND (free = 0 OR max_free_answers IS NULL OR free_answers + free <= max_free_answers)
    RETURNING session.number
  ), reserved AS (
    INSERT INTO reservation (session, epoch, key, fingerprint, amount)
    SELECT session, %(epoch)s, key, fingerprint, amount
    FROM unnest(%(holders)s::bigint[], %(held_keys)b::text[], %(held_prints)b::bytea[], %(held_amounts)s::bigint[])
      AS wanted (session, key, fingerprint, amount)
    RETURNING session, key, fingerprint, amount, id
  ), booked AS (
    INSERT INTO usage (session, sequence, entry, hash)
    SELECT * FROM unnest(%(booked)s::bigint[], %(sequences)s::bigint[], %(texts)b::text[], %(hashes)b::bytea[])
  ), kept AS (
    INSERT INTO answer (session, key, fingerprint, status, headers, body, receipt)
    SELECT * FROM unnest(%(answered)s::bigint[], %(keys)b::text[], %(fingerprints)b::bytea[], %(statuses)s::bigint[],
      %(headers)b::text[], %(bodies)b::bytea[], %(receipts)b::text[])
  )
  SELECT number, NULL, NULL, NULL, NULL FROM written UNION ALL SELECT * FROM reserved"""


async def perform(
    connection: Connection, epoch: int, limits: AnswerLimits, debits: Sequence[Debit], *, wait: bool
) -> list[Result | None]:
    """See ``Ledger.reserve`` and ``Ledger.commit``. New reservations are of the process whose turn ``epoch`` is.

    Without ``wait``, None where another transaction has the session's row: nothing is done for that debit.
    """
    rows = await _locked(connection, {session_of(debit) for debit in debits}, wait=wait)
    numbers = {session_id: session.number for session_id, (session, _) in rows.items()}
    mine = [debit for debit in debits if session_of(debit) in rows]
    known = await _known(connection, numbers, [debit for debit in mine if isinstance(debit, ReserveRequest)])
    held = await _take(connection, [debit.reservation for debit in mine if isinstance(debit, Commit)])
    accounts = {
        session_id: Account(session, answer_bytes, known.get(session.number, {}))
        for session_id, (session, answer_bytes) in rows.items()
    }
    results: dict[int, Result | None] = {}
    # All of them are unacknowledged, hence concurrent: reserved first, a key that ends just now is still running.
    for place, debit in sorted(enumerate(debits), key=lambda pair: isinstance(pair[1], Commit)):
        results[place] = _decide(accounts.get(session_of(debit)), debit, held, limits, wait=wait)
    ids = await _write(connection, epoch, [account for account in accounts.values() if account.moved])
    return [_numbered(results[place], debit, epoch, ids) for place, debit in enumerate(debits)]


def session_of(debit: Debit) -> str:
    """Id of the session whose money it is about."""
    return debit.session_id if isinstance(debit, ReserveRequest) else debit.reservation.session_id


def _decide(
    account: Account | None, debit: Debit, held: dict[int, int], limits: AnswerLimits, *, wait: bool
) -> Result | None:
    if isinstance(debit, ReserveRequest):
        if account is None:
            return ReserveResult(ReserveOutcome.UNKNOWN) if wait else None
        return account.reserve(debit)
    if account is None:
        return CommitResult(CommitOutcome.LOST) if wait else None
    amount = held.pop(debit.reservation.id, None)
    return CommitResult(CommitOutcome.LOST) if amount is None else account.end(debit, amount, limits)


async def _locked(
    connection: Connection, session_ids: Iterable[str], *, wait: bool
) -> Mapping[str, tuple[SessionRecord, int]]:
    rows = await all_rows(connection, _LOCK if wait else _LOCK_NOW, {"ids": list(session_ids)})
    records = ((held_record(row[:-1]), row[-1]) for row in rows)
    return {session.session_id: (session, answer_bytes) for session, answer_bytes in records}


async def _known(
    connection: Connection, numbers: Mapping[str, _Number], requests: Iterable[ReserveRequest]
) -> Mapping[_Number, Mapping[str, Known]]:
    """What the books have of the requests' keys."""
    pairs = {(numbers[request.session_id], request.key) for request in requests if request.key is not None}
    known: dict[_Number, dict[str, Known]] = {}
    if pairs:
        bindings = {"numbers": _integers(number for number, _ in pairs), "keys": [key for _, key in pairs]}
        for number, key, fingerprint, *answer in await all_rows(connection, _KNOWN, bindings):
            known.setdefault(number, {})[key] = (fingerprint, _stored(*answer))
    return known


async def _take(connection: Connection, reservations: Iterable[Reservation]) -> dict[int, int]:
    """End those that are still held; gives by id what each held."""
    ended = {(reservation.id, reservation.epoch) for reservation in reservations}
    if not ended:
        return {}
    bindings = {"ids": _integers(number for number, _ in ended), "epochs": _integers(epoch for _, epoch in ended)}
    return dict(await all_rows(connection, _TAKE, bindings))


async def _write(connection: Connection, epoch: int, accounts: Sequence[Account]) -> dict[Row, list[int]]:
    """Write what was decided; gives ids by session, key, fingerprint and amount, alike in which any is as good."""
    if not accounts:
        return {}
    bindings = {"epoch": epoch, **_moves(accounts), **_holds(accounts), **_entries(accounts), **_answers(accounts)}
    ids: dict[Row, list[int]] = {}
    written = 0
    for *which, number in await all_rows(connection, _WRITE, bindings):
        if number is None:
            written += 1
        else:
            ids.setdefault(tuple(which), []).append(number)
    if written != len(accounts):
        raise UndoneError("a session changed under its lock, so nothing was done: does anything else write the books?")
    return ids


def _moves(accounts: Sequence[Account]) -> dict[str, Any]:
    pairs = [(account.before, account.session) for account in accounts]
    vouchers = [account.voucher for account in accounts]
    return {
        "numbers": _integers(after.number for _, after in pairs),
        "taken": _integers(len(account.taken) for account in accounts),
        "ended": _integers(account.ended for account in accounts),
        "held": _integers(after.reserved - before.reserved for before, after in pairs),
        "signed": _integers(None if signed is None else signed.voucher.cumulative for signed in vouchers),
        "vouchers": [None if signed is None else json.dumps(voucher_to_json(signed)) for signed in vouchers],
        "amounts": _integers(after.spent - before.spent for before, after in pairs),
        "units": _integers(after.units_charged - before.units_charged for before, after in pairs),
        "entries": _integers(len(account.entries) for account in accounts),
        "free": _integers(after.free_answers - before.free_answers for before, after in pairs),
        "active_at": _integers(after.last_activity_at for _, after in pairs),
        "roots": [after.usage_root for _, after in pairs],
        "kept": _integers(account.answer_bytes for account in accounts),
    }


def _holds(accounts: Sequence[Account]) -> dict[str, Any]:
    taken = [(account.session.number, request) for account in accounts for request in account.taken]
    return {
        "holders": _integers(number for number, _ in taken),
        "held_keys": [request.key for _, request in taken],
        "held_prints": [request.fingerprint for _, request in taken],
        "held_amounts": _integers(request.amount for _, request in taken),
    }


def _entries(accounts: Sequence[Account]) -> dict[str, Any]:
    entries = [(account.session.number, *entry) for account in accounts for entry in account.entries]
    return {
        "booked": _integers(number for number, _, _, _ in entries),
        "sequences": _integers(sequence for _, sequence, _, _ in entries),
        "texts": [text for _, _, text, _ in entries],
        "hashes": [root for _, _, _, root in entries],
    }


def _answers(accounts: Sequence[Account]) -> dict[str, Any]:
    answers = [(account.session.number, *kept) for account in accounts for kept in account.answers]
    return {
        "answered": _integers(number for number, _, _ in answers),
        "keys": [reservation.key for _, reservation, _ in answers],
        "fingerprints": [reservation.fingerprint for _, reservation, _ in answers],
        "statuses": _integers(answer.status for _, _, answer in answers),
        "headers": [json.dumps(answer.headers) for _, _, answer in answers],
        "bodies": [answer.body for _, _, answer in answers],
        "receipts": [answer.receipt for _, _, answer in answers],
    }


def _numbered(result: Result | None, debit: Debit, epoch: int, ids: Mapping[Row, list[int]]) -> Result | None:
    """The result, with the reservation that the database numbered where it is of one."""
    if not isinstance(result, ReserveResult) or not isinstance(debit, ReserveRequest) or result.session is None:
        return result
    if result.outcome is not ReserveOutcome.RESERVED:
        return result
    which = (result.session.number, debit.key, debit.fingerprint, debit.amount)
    reservation = Reservation(
        id=ids[which].pop(),
        session_id=debit.session_id,
        key=debit.key,
        fingerprint=debit.fingerprint,
        amount=ledger_amount(debit.amount),
        units=debit.units,
        epoch=epoch,
    )
    return replace(result, reservation=reservation)


def _stored(status: int | None, headers: str, body: bytes | None, receipt: str) -> StoredAnswer | None:
    if status is None:
        return None
    return StoredAnswer(status, tuple((name, value) for name, value in json.loads(headers)), body, receipt)


def _integers(values: Iterable[int | None]) -> str:
    """An array as PostgreSQL reads it: one binding, where psycopg would look at each element's type."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"
