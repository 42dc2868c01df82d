"""Streams in PostgreSQL: what of one has left is in its reservation before it leaves, which outlives its process."""

from typing import Final

from retainer_provider.books.outcomes import DeliverOutcome
from retainer_provider.books.records import CutStream, Progress, Reservation, ledger_amount
from retainer_provider.books.stores.postgres_rows import Connection, all_rows, first_row
from retainer_provider.books.stores.progress import progress_of, progress_text

# One row is locked, and nothing waited for while it is: so no circle with those that lock the session's row first.
_DELIVER: Final = """
  UPDATE reservation SET progress = %(progress)s FROM process, session
  WHERE reservation.id = %(id)s AND reservation.epoch = %(epoch)s AND NOT reservation.cut
    AND process.epoch = reservation.epoch AND process.lease_until > clock_timestamp()
    AND session.number = reservation.session AND session.state IN ('active', 'closing')
  RETURNING reservation.id"""
_CUT: Final = (
    "UPDATE reservation SET cut = TRUE WHERE id = %(id)s AND epoch = %(epoch)s AND progress IS NOT NULL RETURNING id"
)
_TAKE_OVER: Final = """
  UPDATE reservation SET epoch = %(epoch)s, cut = TRUE FROM session
  WHERE session.number = reservation.session AND reservation.id IN (
    SELECT id FROM reservation JOIN process USING (epoch)
    WHERE progress IS NOT NULL AND (cut OR lease_until <= clock_timestamp())
    ORDER BY id LIMIT %(limit)s FOR UPDATE OF reservation SKIP LOCKED
  )
  RETURNING id, session_id, key, fingerprint, amount, progress"""


async def deliver(connection: Connection, reservation: Reservation, progress: Progress) -> DeliverOutcome:
    """See ``Ledger.deliver``."""
    bindings = {"id": reservation.id, "epoch": reservation.epoch, "progress": progress_text(progress)}
    return DeliverOutcome.LOST if await first_row(connection, _DELIVER, bindings) is None else DeliverOutcome.KEPT


async def cut(connection: Connection, reservation: Reservation) -> bool:
    """Leave a stream of which something has left to ``cut_streams``; False where nothing has."""
    return await first_row(connection, _CUT, {"id": reservation.id, "epoch": reservation.epoch}) is not None


async def cut_streams(connection: Connection, epoch: int, limit: int) -> list[CutStream]:
    """See ``Ledger.cut_streams``. They are the process's from here on whose turn ``epoch`` is."""
    found = []
    bindings = {"epoch": epoch, "limit": limit}
    for number, session_id, key, fingerprint, amount, text in await all_rows(connection, _TAKE_OVER, bindings):
        progress = progress_of(text)
        reservation = Reservation(
            id=number,
            session_id=session_id,
            key=key,
            fingerprint=fingerprint,
            amount=ledger_amount(amount),
            units=progress.charge.units,
            epoch=epoch,
        )
        found.append(CutStream(reservation, progress))
    return found
