"""Writing what was decided of a group of debits to PostgreSQL, in one statement that guards it once more."""

import json
from collections.abc import Sequence
from typing import Any, Final

from retainer.protocol.vouchers import voucher_to_json
from retainer_provider.books.stores.postgres_account import Account
from retainer_provider.books.stores.postgres_pool import UndoneError
from retainer_provider.books.stores.postgres_rows import Connection, first_row, integers

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
    INSERT INTO reservation (id, session, epoch, key, fingerprint, amount) OVERRIDING SYSTEM VALUE
    SELECT * FROM unnest(%(ids)s::bigint[], %(holders)s::bigint[], %(epochs)s::bigint[], %(held_keys)b::text[],
      %(held_prints)b::bytea[], %(held_amounts)s::bigint[])
  ), booked AS (
    INSERT INTO usage (session, sequence, entry, hash)
    SELECT * FROM unnest(%(booked)s::bigint[], %(sequences)s::bigint[], %(texts)b::text[], %(hashes)b::bytea[])
  ), kept AS (
    INSERT INTO answer (session, key, fingerprint, status, headers, body, receipt)
    SELECT * FROM unnest(%(answered)s::bigint[], %(keys)b::text[], %(fingerprints)b::bytea[], %(statuses)s::bigint[],
      %(headers)b::text[], %(bodies)b::bytea[], %(receipts)b::text[])
  )
  SELECT count(*) FROM written"""


async def write(connection: Connection, accounts: Sequence[Account]) -> None:
    """Write what was decided, all of it or nothing."""
    if accounts:
        bindings = {**_moves(accounts), **_holds(accounts), **_entries(accounts), **_answers(accounts)}
        if await first_row(connection, _WRITE, bindings) != (len(accounts),):
            raise UndoneError(
                "a session changed under its lock, so nothing was done: does anything else write the books?"
            )


def _moves(accounts: Sequence[Account]) -> dict[str, Any]:
    pairs = [(account.before, account.session) for account in accounts]
    vouchers = [account.voucher for account in accounts]
    return {
        "numbers": integers(after.number for _, after in pairs),
        "taken": integers(len(account.taken) for account in accounts),
        "ended": integers(account.ended for account in accounts),
        "held": integers(after.reserved - before.reserved for before, after in pairs),
        "signed": integers(None if signed is None else signed.voucher.cumulative for signed in vouchers),
        "vouchers": [None if signed is None else json.dumps(voucher_to_json(signed)) for signed in vouchers],
        "amounts": integers(after.spent - before.spent for before, after in pairs),
        "units": integers(after.units_charged - before.units_charged for before, after in pairs),
        "entries": integers(len(account.entries) for account in accounts),
        "free": integers(after.free_answers - before.free_answers for before, after in pairs),
        "active_at": integers(after.last_activity_at for _, after in pairs),
        "roots": [after.usage_root for _, after in pairs],
        "kept": integers(account.answer_bytes for account in accounts),
    }


def _holds(accounts: Sequence[Account]) -> dict[str, Any]:
    taken = [(account.session.number, reservation) for account in accounts for reservation in account.taken]
    return {
        "ids": integers(reservation.id for _, reservation in taken),
        "holders": integers(number for number, _ in taken),
        "epochs": integers(reservation.epoch for _, reservation in taken),
        "held_keys": [reservation.key for _, reservation in taken],
        "held_prints": [reservation.fingerprint for _, reservation in taken],
        "held_amounts": integers(reservation.amount for _, reservation in taken),
    }


def _entries(accounts: Sequence[Account]) -> dict[str, Any]:
    entries = [(account.session.number, *entry) for account in accounts for entry in account.entries]
    return {
        "booked": integers(number for number, _, _, _ in entries),
        "sequences": integers(sequence for _, sequence, _, _ in entries),
        "texts": [text for _, _, text, _ in entries],
        "hashes": [root for _, _, _, root in entries],
    }


def _answers(accounts: Sequence[Account]) -> dict[str, Any]:
    answers = [(account.session.number, *kept) for account in accounts for kept in account.answers]
    return {
        "answered": integers(number for number, _, _ in answers),
        "keys": [reservation.key for _, reservation, _ in answers],
        "fingerprints": [reservation.fingerprint for _, reservation, _ in answers],
        "statuses": integers(answer.status for _, _, answer in answers),
        "headers": [json.dumps(answer.headers) for _, _, answer in answers],
        "bodies": [answer.body for _, _, answer in answers],
        "receipts": [answer.receipt for _, _, answer in answers],
    }
