"""What becomes of requests in PostgreSQL later: given back, listed, purged."""

import json
from typing import Final

from retainer.protocol.usage import UsageEntry
from retainer_provider.books.outcomes import ReleaseOutcome
from retainer_provider.books.records import Reservation
from retainer_provider.books.stores import archive_sql, postgres_streams
from retainer_provider.books.stores.postgres_rows import Connection, all_rows, first_row
from retainer_provider.books.stores.postgres_sessions import load

_TAKE: Final = "DELETE FROM reservation WHERE id = %(id)s AND epoch = %(epoch)s RETURNING amount"
_UNHOLD: Final = """
  UPDATE session SET reserved = reserved - %(held)s, in_flight = in_flight - 1 WHERE number = %(number)s"""
_USAGE_PAGE: Final = """
  SELECT entry FROM usage
  WHERE session = (SELECT number FROM session WHERE session_id = %(session_id)s) AND sequence > %(after)s
  ORDER BY sequence LIMIT %(limit)s"""
_PURGE: Final = """
  DELETE FROM answer WHERE id IN (
    SELECT answer.id FROM session JOIN answer ON answer.session = session.number
    WHERE session.state = 'refunded' AND session.closed_at < %(closed_before)s LIMIT %(limit)s
  )"""


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
