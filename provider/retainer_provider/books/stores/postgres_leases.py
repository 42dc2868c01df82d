"""A process's turn at the shared books: an epoch, under a lease that only this database's clock measures.

A process that stalls past its lease has lost what it held, whether it knows or not: its commits are refused, any
other process gives its reservations back, and it goes on under a new epoch.
"""

from typing import Final

from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.stores.postgres_rows import Connection, all_rows, first_row

_BEGIN: Final = """
  INSERT INTO process (owner, lease_until) VALUES (%(owner)s, clock_timestamp() + make_interval(secs => %(seconds)s))
  RETURNING epoch"""
_RENEW: Final = """
  UPDATE process SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
  WHERE epoch = %(epoch)s AND lease_until > clock_timestamp() RETURNING epoch"""
_END: Final = "UPDATE process SET lease_until = '-infinity' WHERE epoch = %(epoch)s"
_HOLDING: Final = """
  SELECT DISTINCT session FROM reservation JOIN process USING (epoch)
  WHERE lease_until <= clock_timestamp() AND progress IS NULL ORDER BY session LIMIT 100"""
_LOCK: Final = "SELECT number FROM session WHERE number = %(number)s FOR NO KEY UPDATE"
_GIVE_BACK: Final = """
  WITH dropped AS (
    DELETE FROM reservation USING process
    WHERE reservation.session = %(number)s AND process.epoch = reservation.epoch
      AND process.lease_until <= clock_timestamp()
      AND reservation.progress IS NULL -- a stream of which something has left is booked by whoever finds it
    RETURNING reservation.amount
  )
  UPDATE session SET
    reserved = reserved - (SELECT coalesce(sum(amount), 0) FROM dropped)::bigint,
    in_flight = in_flight - (SELECT count(*) FROM dropped)
  WHERE number = %(number)s RETURNING (SELECT count(*) FROM dropped)"""
_FORGET: Final = """
  DELETE FROM process WHERE lease_until <= clock_timestamp()
    AND NOT EXISTS (SELECT FROM reservation WHERE reservation.epoch = process.epoch)"""


async def begin(connection: Connection, owner: str, seconds: float) -> int:
    """Take a turn, whose lease lasts ``seconds``; returns its epoch."""
    row = await first_row(connection, _BEGIN, {"owner": owner, "seconds": seconds})
    if row is None:
        raise LedgerError("the database gave no epoch: look for rules and triggers on its table `process`")
    return int(row[0])


async def renew(connection: Connection, epoch: int, seconds: float) -> bool:
    """Let the lease last ``seconds`` from now; False when it has passed already, which is for good."""
    return await first_row(connection, _RENEW, {"epoch": epoch, "seconds": seconds}) is not None


async def end(connection: Connection, epoch: int) -> None:
    """Let the lease pass at once."""
    await connection.execute(_END, {"epoch": epoch})


async def holding(connection: Connection) -> list[int]:
    """Numbers of sessions that still reserve something for processes whose lease has passed."""
    return [int(number) for (number,) in await all_rows(connection, _HOLDING, {})]


async def give_back(connection: Connection, number: int) -> int:
    """Release what such processes hold of one session; returns how many requests."""
    await first_row(connection, _LOCK, {"number": number})  # before its reservations, as everywhere
    row = await first_row(connection, _GIVE_BACK, {"number": number})
    return 0 if row is None else int(row[0])


async def forget(connection: Connection) -> None:
    """Drop the turns that have passed and hold nothing any more."""
    await connection.execute(_FORGET)
