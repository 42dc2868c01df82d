"""The log of events: numbered per session without a gap, in the order in which they became visible, on both stores.

The counter's row is locked by the write that takes a number. So of two transactions the one that commits later has the
higher number, and a reader who has seen number n never misses one below it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from retainer.protocol.encoding import Json
from retainer_provider.books.steps import Books, Ring, Statement, Steps, one

KEPT: Final = 500
"""Events of a session that stay: who was away for longer reads the things themselves."""

_COUNT: Final = """
  INSERT INTO activity_count (session, last) VALUES (:session, 1)
  ON CONFLICT (session) DO UPDATE SET last = activity_count.last + 1 RETURNING last"""
_APPEND: Final = """
  INSERT INTO activity (session, number, scope, ref, kind, data, at)
  VALUES (:session, :number, :scope, :ref, :kind, :data, :at)"""
_FORGET: Final = "DELETE FROM activity WHERE session = :session AND number <= :number"
_LATEST: Final = "SELECT last FROM activity_count WHERE session = :session"
_AFTER: Final = """
  SELECT number, scope, ref, kind, data, at FROM activity
  WHERE session = :session AND number > :after ORDER BY number LIMIT :page"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened: `kind` to the thing `ref`, in the view `scope`, at `at` (unix milliseconds)."""

    session_id: str
    scope: str
    ref: str
    kind: str
    data: Mapping[str, Json]
    at: int


@dataclass(frozen=True, slots=True)
class Logged:
    """An event with its number, by which a reader goes on."""

    number: int
    event: Event

    def to_json(self) -> dict[str, Json]:
        """The event as it goes out; its own members never hide these."""
        event = self.event
        named: dict[str, Json] = {
            "scope": event.scope,
            "session_id": event.session_id,
            "ref": event.ref,
            "type": event.kind,
            "at": event.at // 1000,
        }
        return {**event.data, **named}


def append(event: Event) -> Steps[int]:
    """Log an event as part of a transaction, as its last steps; returns its number."""
    row = yield from one(_COUNT, session=event.session_id)
    number = 0 if row is None else int(row[0])
    yield Statement(
        _APPEND,
        {
            "session": event.session_id,
            "number": number,
            "scope": event.scope,
            "ref": event.ref,
            "kind": event.kind,
            "data": json.dumps(event.data),
            "at": event.at,
        },
    )
    yield Statement(_FORGET, {"session": event.session_id, "number": number - KEPT})
    yield Ring()
    return number


async def latest(books: Books, session_id: str) -> int:
    """The number of the session's last event, 0 before the first."""
    row = await books.look(one(_LATEST, session=session_id))
    return 0 if row is None else int(row[0])


async def events_after(books: Books, session_id: str, number: int, limit: int = 100) -> Sequence[Logged]:
    """The session's events with a higher number, at most `limit`."""

    def look() -> Steps[list[Logged]]:
        rows = yield Statement(_AFTER, {"session": session_id, "after": number, "page": limit})
        return [
            Logged(
                found,
                Event(session_id=session_id, scope=scope, ref=ref, kind=kind, data=json.loads(data), at=at),
            )
            for found, scope, ref, kind, data, at in rows
        ]

    return await books.look(look())
