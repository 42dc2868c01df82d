"""Streams in SQLite: what of one has left is on disk before it leaves, and its reservation outlives a crash."""

from typing import Final

import apsw

from retainer_provider.books.outcomes import DeliverOutcome
from retainer_provider.books.records import CutStream, Progress, Reservation, ledger_amount
from retainer_provider.books.stores.progress import progress_of, progress_text
from retainer_provider.books.stores.sqlite_rows import first_row

_DELIVER: Final = """
  INSERT INTO stream (reservation, session, key, fingerprint, amount, progress)
  SELECT :id, number, :key, :fingerprint, :amount, :progress FROM session
  WHERE session_id = :session_id AND state IN ('active', 'closing')
  ON CONFLICT (reservation) DO UPDATE SET progress = excluded.progress
  RETURNING reservation"""
_STREAMS: Final = """
  SELECT reservation, session_id, key, fingerprint, amount, progress
  FROM stream JOIN session ON number = stream.session ORDER BY reservation"""


def deliver(connection: apsw.Connection, reservation: Reservation, progress: Progress) -> DeliverOutcome:
    """See ``Ledger.deliver``."""
    bindings = {
        "id": reservation.id,
        "session_id": reservation.session_id,
        "key": reservation.key,
        "fingerprint": reservation.fingerprint,
        "amount": reservation.amount,
        "progress": progress_text(progress),
    }
    return DeliverOutcome.KEPT if first_row(connection, _DELIVER, bindings) else DeliverOutcome.LOST


def streams(connection: apsw.Connection) -> list[CutStream]:
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
