"""Writing what was decided of a group of debits to PostgreSQL, in one statement that guards all of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.vouchers import voucher_to_json
from retainer_provider.books.stores.postgres_account import Account
from retainer_provider.books.stores.postgres_rows import Connection, all_rows, integers

_AUTHORIZED: Final = "CASE voucher_signer WHEN 'client' THEN coalesce(signed, session.accepted) ELSE deposit END"
# `sound` are the sessions that still are what it was decided from, and whose rows are to be had without waiting; only
# these are written. The head of the hash chain is as it was seen before this statement began, and no answer is kept
# without moving it: so `met`, which sees what was committed when the statement began, knows of all answers there are.
# The fence is in `gone`: nothing is charged under another epoch than the reservation's, or after its lease. Should
# anything be gone that a sound session counted on, the last line is no integer, and nothing at all was done.
_STATEMENT: Final = f"""
  WITH moved AS (
    SELECT * FROM unnest(%(numbers)s::bigint[], %(was_roots)b::bytea[], %(was_states)s::text[],
      %(was_deposits)s::bigint[], %(was_accepted)s::bigint[], %(was_closing)s::bigint[], %(taken)s::bigint[],
      %(ended)s::bigint[], %(held)s::bigint[], %(signed)s::bigint[], %(vouchers)b::text[], %(amounts)s::bigint[],
      %(units)s::bigint[], %(entries)s::bigint[], %(free)s::bigint[], %(active_at)s::bigint[], %(roots)b::bytea[],
      %(kept)s::bigint[])
    AS moved (number, was_root, was_state, was_deposit, was_accepted, was_closing, taken, ended, held, signed, voucher,
      amount, units, entries, free, active_at, root, kept)
  ), holding AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(holders)s::bigint[], %(epochs)s::bigint[], %(held_keys)b::text[],
      %(held_prints)b::bytea[], %(held_amounts)s::bigint[])
    AS holding (id, session, epoch, key, fingerprint, amount)
  ), ending AS (
    SELECT * FROM unnest(%(ending)s::bigint[], %(enders)s::bigint[], %(ending_epochs)s::bigint[],
      %(sequences)s::bigint[], %(texts)b::text[], %(hashes)b::bytea[], %(statuses)s::integer[], %(headers)b::text[],
      %(bodies)b::bytea[], %(receipts)b::text[])
    AS ending (id, session, epoch, sequence, entry, hash, status, headers, body, receipt)
  ), met AS (
    SELECT session FROM holding CROSS JOIN LATERAL (
      SELECT FROM answer WHERE answer.session = holding.session AND answer.key = holding.key
      UNION ALL SELECT FROM reservation WHERE reservation.session = holding.session AND reservation.key = holding.key
      LIMIT 1
    ) AS known
  ), sound AS (
    SELECT moved.* FROM session JOIN moved ON moved.number = session.number
    WHERE usage_root = was_root AND state = was_state AND deposit = was_deposit
      AND session.accepted = was_accepted AND closure_started_at = was_closing
      AND (taken = 0 OR state = 'active' AND {_AUTHORIZED} >= spent + amount + session.reserved + held)
      AND (signed IS NULL OR voucher_signer = 'client' AND session.accepted < signed AND signed <= deposit)
      AND (entries = 0 OR state IN ('active', 'closing') AND {_AUTHORIZED} >= spent + amount)
      AND (free = 0 OR max_free_answers IS NULL OR free_answers + free <= max_free_answers)
      AND moved.number NOT IN (SELECT session FROM met)
    FOR NO KEY UPDATE OF session SKIP LOCKED
  ), written AS (
    UPDATE session SET
      reserved = session.reserved + held, in_flight = in_flight + taken - ended,
      accepted = coalesce(signed, session.accepted), voucher = coalesce(sound.voucher, session.voucher),
      spent = spent + amount, units_charged = units_charged + units, sequence = sequence + entries,
      free_answers = free_answers + free, last_activity_at = active_at, usage_root = root, answer_bytes = kept
    FROM sound WHERE session.number = sound.number
    RETURNING session.number, reserved, ended
  ), gone AS (
    DELETE FROM reservation USING ending, process, written
    WHERE ending.session = written.number AND reservation.id = ending.id AND reservation.session = ending.session
      AND reservation.epoch = ending.epoch
      AND process.epoch = reservation.epoch AND process.lease_until > clock_timestamp()
    RETURNING ending.session, reservation.key, fingerprint, sequence, entry, hash, status, headers, body, receipt
  ), reserved AS (
    INSERT INTO reservation (id, session, epoch, key, fingerprint, amount) OVERRIDING SYSTEM VALUE
    SELECT holding.* FROM holding JOIN written ON written.number = holding.session
  ), booked AS (
    INSERT INTO usage (session, sequence, entry, hash)
    SELECT session, sequence, entry, hash FROM gone WHERE sequence IS NOT NULL
  ), kept AS (
    INSERT INTO answer (session, key, fingerprint, status, headers, body, receipt)
    SELECT session, key, fingerprint, status, headers, body, receipt FROM gone WHERE status IS NOT NULL
  )
  SELECT number, reserved,
    (SELECT CASE WHEN %(forgetful)s THEN set_config('synchronous_commit', 'off', TRUE) END),
    (SELECT CASE WHEN (SELECT count(*) FROM gone) = (SELECT sum(ended) FROM written) THEN 0
      ELSE ((SELECT count(*) FROM gone) || ' of the requests were still held')::integer END)
  FROM written"""
# On one line: psycopg parses a text of more than 4,096 characters each time anew.
_WRITE: Final = " ".join(_STATEMENT.split())


async def write(
    connection: Connection, accounts: Sequence[Account], *, lasting: bool = True
) -> Mapping[int, BaseUnits]:
    """Write what was decided, for each session all of it or nothing; gives what is held of those that were written.

    Not ``lasting``, a crash of the server in the next second may undo it, where this is a transaction of its own.
    """
    if not accounts:
        return {}
    bindings = {**_moves(accounts), **_holds(accounts), **_ends(accounts), "forgetful": not lasting}
    return {number: BaseUnits(reserved) for number, reserved, *_ in await all_rows(connection, _WRITE, bindings)}


def _moves(accounts: Sequence[Account]) -> dict[str, Any]:
    pairs = [(account.before, account.session) for account in accounts]
    vouchers = [account.voucher for account in accounts]
    return {
        "numbers": integers(before.number for before, _ in pairs),
        "was_roots": [before.usage_root for before, _ in pairs],
        "was_states": _words(before.state for before, _ in pairs),
        "was_deposits": integers(before.deposit for before, _ in pairs),
        "was_accepted": integers(before.accepted for before, _ in pairs),
        "was_closing": integers(before.closure_started_at for before, _ in pairs),
        "taken": integers(len(account.taken) for account in accounts),
        "ended": integers(len(account.ended) for account in accounts),
        "held": integers(after.reserved - before.reserved for before, after in pairs),
        "signed": integers(None if signed is None else signed.voucher.cumulative for signed in vouchers),
        "vouchers": [None if signed is None else json.dumps(voucher_to_json(signed)) for signed in vouchers],
        "amounts": integers(after.spent - before.spent for before, after in pairs),
        "units": integers(after.units_charged - before.units_charged for before, after in pairs),
        "entries": integers(after.sequence - before.sequence for before, after in pairs),
        "free": integers(after.free_answers - before.free_answers for before, after in pairs),
        "active_at": integers(after.last_activity_at for _, after in pairs),
        "roots": [after.usage_root for _, after in pairs],
        "kept": integers(account.answer_bytes for account in accounts),
    }


def _holds(accounts: Sequence[Account]) -> dict[str, Any]:
    taken = [(account.before.number, reservation) for account in accounts for reservation in account.taken]
    return {
        "ids": integers(reservation.id for _, reservation in taken),
        "holders": integers(number for number, _ in taken),
        "epochs": integers(reservation.epoch for _, reservation in taken),
        "held_keys": [reservation.key for _, reservation in taken],
        "held_prints": [reservation.fingerprint for _, reservation in taken],
        "held_amounts": integers(reservation.amount for _, reservation in taken),
    }


def _ends(accounts: Sequence[Account]) -> dict[str, Any]:
    ended = [(account.before.number, end) for account in accounts for end in account.ended]
    lines = [end.line for _, end in ended]
    kept = [end.answer for _, end in ended]
    return {
        "ending": integers(end.reservation.id for _, end in ended),
        "enders": integers(number for number, _ in ended),
        "ending_epochs": integers(end.reservation.epoch for _, end in ended),
        "sequences": integers(None if line is None else line.sequence for line in lines),
        "texts": [None if line is None else line.text for line in lines],
        "hashes": [None if line is None else line.root for line in lines],
        "statuses": integers(None if answer is None else answer.status for answer in kept),
        "headers": [None if answer is None else json.dumps(answer.headers) for answer in kept],
        "bodies": [None if answer is None else answer.body for answer in kept],
        "receipts": [None if answer is None else answer.receipt for answer in kept],
    }


def _words(values: Iterable[str]) -> str:
    """An array of plain words as PostgreSQL reads it."""
    return "{" + ",".join(values) + "}"
