"""Counts and sums over the books, in SQLite."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import apsw

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer_provider.books.records import URGENT_FRACTION, Parties, Tally
from retainer_provider.books.stores.rows import PARTIES, parties_of

# total() is floating: what strangers deposit of their own tokens must not overflow a sum() and blind the monitoring.
_TALLY: Final = f"""
  SELECT offer_id, state, count(*), total(deposit), total(spent), total(settled),
    count(*) FILTER (WHERE state = 'closing'
      AND deadline - :now < coalesce(:before, grace_period / {URGENT_FRACTION}))
  FROM session GROUP BY offer_id, state ORDER BY offer_id, state"""
_WHOSE: Final = "SELECT session_id, offer_id, state FROM session WHERE session_id IN (SELECT value FROM json_each(?))"


def tally(
    connection: apsw.Connection, held: Mapping[str, BaseUnits], now: int, alarm_before: int | None
) -> list[Tally]:
    """See ``Ledger.tally``."""
    tallies = [
        Tally(
            offer_id=offer_id,
            state=SessionState(state),
            sessions=sessions,
            deposit=int(deposit),
            reserved=0,
            spent=int(spent),
            settled=int(settled),
            urgent=urgent,
        )
        for offer_id, state, sessions, deposit, spent, settled, urgent in connection.execute(
            _TALLY, {"now": now, "before": alarm_before}
        )
    ]
    reserved = _reserved(connection, held)
    return [replace(entry, reserved=reserved[entry.offer_id, entry.state]) for entry in tallies]


def parties(connection: apsw.Connection) -> list[Parties]:
    """See ``Ledger.parties``."""
    return [parties_of(row) for row in connection.execute(PARTIES)]


def _reserved(connection: apsw.Connection, held: Mapping[str, BaseUnits]) -> Counter[tuple[str, SessionState]]:
    sums: Counter[tuple[str, SessionState]] = Counter()
    for session_id, offer_id, state in connection.execute(_WHOSE, (json.dumps([*held]),)):
        sums[offer_id, SessionState(state)] += held[session_id]
    return sums
