"""Streams in SQLite: what of one has left is on disk before it leaves, and its reservation outlives a crash."""

from typing import Final

import apsw

from retainer_provider.books.outcomes import DeliverOutcome
from retainer_provider.books.records import CutStream, Progress, Reservation, ledger_amount
from retainer_provider.books.stores.progress import progress_of, progress_text
from retainer_provider.books.stores.sqlite_holds import Holds
from retainer_provider.books.stores.sqlite_rows import first_row
from retainer_provider.books.stores.sqlite_sessions import load

_DELIVER: Final = """
  INSERT INTO stream (reservation, session, key, fingerprint, amount, progress)
  SELECT :id, number, :key, :fingerprint, :amount, :progress FROM session
  WHERE session_id = :session_id AND state IN ('active', 'closing')
  ON CONFLICT (reservation) DO UPDATE SET progress = excluded.progress
  RETURNING reservation"""
_STREAMS: Final = """
  SELECT reservation, session_id, key, fingerprint, amount, progress
  FROM stream JOIN session ON number = stream.session ORDER BY reservation"""
_FORGET: Final = "DELETE FROM stream WHERE reservation = ?"


def restore(connection: apsw.Connection, holds: Holds) -> None:
    """At the start: what streams had reserved when the process before this one died is theirs still."""
    for stream in _streams(connection):
        session = load(connection, holds, stream.reservation.session_id)
        if session is not None:
            holds.restore(session, stream.reservation)


def deliver(connection: apsw.Connection, holds: Holds, reservation: Reservation, progress: Progress) -> DeliverOutcome:
    """See ``Ledger.deliver``."""
    if holds.session_of(reservation) is None or holds.is_cut(reservation):
        return DeliverOutcome.LOST
    bindings = {
        "id": reservation.id,
        "session_id": reservation.session_id,
        "key": reservation.key,
        "fingerprint": reservation.fingerprint,
        "amount": reservation.amount,
        "progress": progress_text(progress),
    }
    if first_row(connection, _DELIVER, bindings) is None:
        return DeliverOutcome.LOST
    holds.delivered(reservation)
    return DeliverOutcome.KEPT


def cut_streams(connection: apsw.Connection, holds: Holds, limit: int) -> list[CutStream]:
    """See ``Ledger.cut_streams``."""
    return [stream for stream in _streams(connection) if holds.is_cut(stream.reservation)][:limit]


def forget(connection: apsw.Connection, reservation: Reservation) -> None:
    """The stream is booked, or can be no more."""
    connection.execute(_FORGET, (reservation.id,))


def _streams(connection: apsw.Connection) -> list[CutStream]:
    """All of which something has left and that are not booked: those that run, and those that are cut."""
    found = []
    for number, session_id, key, fingerprint, amount, text in connection.execute(_STREAMS):
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
