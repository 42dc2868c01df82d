"""Streams in SQLite: what of one has left is on disk before it leaves, and its reservation outlives a crash."""

from typing import Final

import apsw

from retainer_provider.books.outcomes import DeliverOutcome
from retainer_provider.books.records import CutStream, Progress, Reservation, ledger_amount
from retainer_provider.books.stores.progress import progress_of, progress_text
from retainer_provider.books.stores.sqlite_holds import Hold, Holds
from retainer_provider.books.stores.sqlite_rows import first_row

_DELIVER: Final = """
  INSERT INTO main.stream (reservation, session, key, fingerprint, amount, progress)
  SELECT id, session, key, fingerprint, amount, :progress FROM temp.reservation JOIN main.session ON number = session
  WHERE id = :id AND NOT cut AND state IN ('active', 'closing')
  ON CONFLICT (reservation) DO UPDATE SET progress = excluded.progress
  RETURNING reservation"""
_CUT: Final = (
    "UPDATE temp.reservation SET cut = 1 WHERE id = ?1 AND EXISTS (SELECT 1 FROM main.stream WHERE reservation = ?1)"
)
_CUT_STREAMS: Final = """
  SELECT stream.reservation, session.session_id, stream.key, stream.fingerprint, stream.amount, stream.progress
  FROM temp.reservation JOIN main.stream ON stream.reservation = reservation.id
    JOIN main.session ON session.number = stream.session
  WHERE reservation.cut ORDER BY stream.reservation LIMIT ?"""
_FORGET: Final = "DELETE FROM main.stream WHERE reservation = ?"
_RESTORE: Final = """
  INSERT INTO temp.reservation (id, session, key, fingerprint, amount, cut)
  SELECT reservation, session, key, fingerprint, amount, 1 FROM main.stream"""
_RESTORE_HELD: Final = """
  INSERT INTO temp.held (session, amount, requests)
  SELECT session, sum(amount), count(*) FROM main.stream GROUP BY session"""
_HELD: Final = """
  SELECT session_id, amount, requests FROM temp.held JOIN main.session ON session.number = held.session"""


def restore(connection: apsw.Connection, holds: Holds) -> None:
    """At the start: what streams had reserved when the process before this one died is theirs still."""
    connection.execute(_RESTORE)
    connection.execute(_RESTORE_HELD)
    for session_id, amount, requests in connection.execute(_HELD):
        holds.put(session_id, Hold(amount, requests))


def deliver(connection: apsw.Connection, reservation: Reservation, progress: Progress) -> DeliverOutcome:
    """See ``Ledger.deliver``."""
    bindings = {"id": reservation.id, "progress": progress_text(progress)}
    return DeliverOutcome.LOST if first_row(connection, _DELIVER, bindings) is None else DeliverOutcome.KEPT


def cut(connection: apsw.Connection, reservation: Reservation) -> bool:
    """Leave a stream of which something has left to ``cut_streams``; False where nothing has."""
    connection.execute(_CUT, (reservation.id,))
    return bool(connection.changes())


def cut_streams(connection: apsw.Connection, limit: int) -> list[CutStream]:
    """See ``Ledger.cut_streams``."""
    found = []
    for number, session_id, key, fingerprint, amount, text in connection.execute(_CUT_STREAMS, (limit,)):
        progress = progress_of(text)
        reservation = Reservation(
            id=number,
            session_id=session_id,
            key=key,
            fingerprint=fingerprint,
            amount=ledger_amount(amount),
            units=progress.charge.units,
        )
        found.append(CutStream(reservation, progress))
    return found


def forget(connection: apsw.Connection, reservation: Reservation) -> None:
    """The stream is booked, or can be no more."""
    connection.execute(_FORGET, (reservation.id,))
