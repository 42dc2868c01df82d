"""Counts and sums over the books, in PostgreSQL."""

from typing import Final

from retainer.protocol.session import SessionState
from retainer_provider.books.records import URGENT_FRACTION, Parties, Tally
from retainer_provider.books.stores.postgres_rows import Connection, all_rows
from retainer_provider.books.stores.rows import PARTIES, parties_of

_TALLY: Final = f"""
  SELECT offer_id, state, count(*), sum(deposit), sum(reserved), sum(spent), coalesce(sum(settled), 0),
    count(*) FILTER (WHERE state = 'closing'
      AND deadline - %(now)s < coalesce(%(before)s, grace_period / {URGENT_FRACTION}))
  FROM session GROUP BY offer_id, state ORDER BY offer_id, state"""


async def tally(connection: Connection, now: int, alarm_before: int | None) -> list[Tally]:
    """See ``Ledger.tally``."""
    return [
        Tally(
            offer_id=offer_id,
            state=SessionState(state),
            sessions=sessions,
            deposit=int(deposit),
            reserved=int(reserved),
            spent=int(spent),
            settled=int(settled),
            urgent=urgent,
        )
        for offer_id, state, sessions, deposit, reserved, spent, settled, urgent in await all_rows(
            connection, _TALLY, {"now": now, "before": alarm_before}
        )
    ]


async def parties(connection: Connection) -> list[Parties]:
    """See ``Ledger.parties``."""
    return [parties_of(row) for row in await all_rows(connection, PARTIES, {})]
