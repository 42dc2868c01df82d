"""Debits in SQL: all that came in during one sync are written together, one row a session and two a request.

What they come to is worked out from the figures that the writer wrote last, which are the file's own. The statement
that takes the money is guarded by what the file says all the same, and where it refuses, nothing of the batch is
written but each debit is looked at alone, by figures read anew.
"""

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.admission import uncharged
from retainer_provider.books.debits import booked
from retainer_provider.books.outcomes import CommitOutcome, CommitResult
from retainer_provider.books.records import AnswerLimits, Reservation, StoredAnswer
from retainer_provider.books.stores.sqlite_jobs import OWN_FAULTS, Debit
from retainer_provider.books.stores.sqlite_sessions import figures
from retainer_provider.books.stores.sqlite_standings import Figures, Standing

# The guard: balance and everything else that bars a charge are read by the statement that takes the money, and that the
# log goes on from the entry that its chain was continued from.
_CHARGE: Final = """
  UPDATE session SET
    spent = spent + ?1, units_charged = ?2, sequence = ?3, free_answers = ?4, usage_root = ?5, last_activity_at = ?6,
    answer_bytes = ?7
  WHERE number = ?8 AND usage_root = ?9 AND spent = ?10 AND state IN ('active', 'closing')
    AND CASE voucher_signer WHEN 'client' THEN accepted ELSE deposit END - spent >= ?1
    AND (free_answers = ?4 OR max_free_answers IS NULL OR ?4 <= max_free_answers)"""
_USAGE: Final = "INSERT INTO usage (session, sequence, entry, hash) VALUES (?, ?, ?, ?)"
_KEEP: Final = """
  INSERT INTO answer (session, key, fingerprint, status, headers, body, receipt) VALUES (?, ?, ?, ?, ?, ?, ?)"""
_FORGET: Final = "DELETE FROM stream WHERE reservation = ?"


class _Page(msgspec.Struct, eq=False):
    """A session in one batch: as it was, as it is after the debits so far, and what those had reserved."""

    before: Figures
    after: Figures
    ended: int = 0


class _RefusedError(Exception):
    """The file does not stand as the figures say."""


def write_debits(connection: apsw.Connection, limits: AnswerLimits, debits: Sequence[Debit]) -> None:
    """Book all of them inside of the transaction that is open; each has a value or an error then."""
    if _written(connection, limits, debits):
        return
    for debit in debits:
        debit.standing.written = figures(connection, debit.commit.reservation.session_id)
        if not _written(connection, limits, [debit]) and debit.error is None:
            _end(debit, uncharged(None, debit.commit.charge))


def _written(connection: apsw.Connection, limits: AnswerLimits, debits: Sequence[Debit]) -> bool:
    """Whether the file took them; where it did not, nothing is written, and a lone one's own fault is its error."""
    batch = _Batch(limits)
    for debit in debits:
        batch.book(debit)
    connection.execute("SAVEPOINT debits")
    try:
        batch.write(connection)
    except (_RefusedError, *OWN_FAULTS) as error:
        connection.execute("ROLLBACK TO debits")
        connection.execute("RELEASE debits")
        if len(debits) == 1 and not isinstance(error, _RefusedError):
            debits[0].error = error
        return False
    connection.execute("RELEASE debits")
    for standing, page in batch.pages.items():
        standing.written = page.after
        standing.ended += page.ended
    return True


class _Batch:
    """The rows of some debits."""

    def __init__(self, limits: AnswerLimits) -> None:
        self._limits = limits
        self.pages: dict[Standing, _Page] = {}
        self._usage: list[tuple[Any, ...]] = []
        self._answers: list[tuple[Any, ...]] = []
        self._streams: list[tuple[int]] = []

    def book(self, debit: Debit) -> None:
        """Work out what the debit comes to, after those before it."""
        standing, reservation = debit.standing, debit.commit.reservation
        page = self.pages.get(standing)
        if page is None:
            if standing.written is None:
                _end(debit, CommitResult(CommitOutcome.LOST))
                return
            page = self.pages[standing] = _Page(standing.written, standing.written)
        reserved = BaseUnits(standing.taken - standing.ended - page.ended - reservation.amount)
        try:
            result, line = booked(page.after.record, debit.commit, reserved)
        except Exception as error:  # noqa: BLE001 - of the caller's `finish`, and raised to its caller
            debit.error = error
            return
        debit.error = None
        page.ended += reservation.amount
        if debit.stream:
            self._streams.append((reservation.id,))
        if result.session is not None and result.answer is not None:
            number, kept = result.session.number, 0
            self._usage.append((number, result.sequence, line.decode(), result.usage_hash))
            if reservation.key is not None:
                kept = self._keep(number, reservation, result.answer, self._limits.room(page.after.answer_bytes))
            page.after = Figures(result.session, page.after.answer_bytes + kept)
        debit.value, debit.figures = result, page.after

    def _keep(self, number: int, reservation: Reservation, answer: StoredAnswer, room: int) -> int:
        """Keep the answer for replay, without its body where that is over ``room``; returns the body's bytes kept."""
        body = answer.body if answer.body is not None and len(answer.body) <= room else None
        headers = msgspec.json.encode(answer.headers).decode()
        self._answers.append(
            (number, reservation.key, reservation.fingerprint, answer.status, headers, body, answer.receipt)
        )
        return len(body or b"")

    def write(self, connection: apsw.Connection) -> None:
        """All rows; _RefusedError when a session is not as it was taken to be."""
        charges = [_charge(page) for page in self.pages.values() if page.after is not page.before]
        changes = connection.total_changes()
        connection.executemany(_CHARGE, charges)
        if connection.total_changes() - changes != len(charges):
            raise _RefusedError
        connection.executemany(_USAGE, self._usage)
        connection.executemany(_KEEP, self._answers)
        connection.executemany(_FORGET, self._streams)


def _charge(page: _Page) -> tuple[Any, ...]:
    was, now = page.before.record, page.after.record
    return (
        now.spent - was.spent,
        now.units_charged,
        now.sequence,
        now.free_answers,
        now.usage_root,
        now.last_activity_at,
        page.after.answer_bytes,
        was.number,
        was.usage_root,
        was.spent,
    )


def _end(debit: Debit, result: CommitResult) -> None:
    """The debit takes no money: its reservation is over."""
    debit.value, debit.error, debit.figures = result, None, debit.standing.written
    debit.standing.ended += debit.commit.reservation.amount
