"""Who hosts a responder, in SQL for both stores: nodes that live, and one process at a time per responder.

A process holds a responder under a lease that the store's clock measures. Whoever holds it next has a higher fence, and
what an earlier host still writes is refused. Its home comes first; while no process of that node lives, any other may.
"""

from typing import Final

from retainer_provider.books.steps import Statement, Steps, one
from retainer_provider.cards.records import Fenced, Hold, Responder, Seat

_BEAT: Final = """
  INSERT INTO node (owner, name, lease_until) VALUES (:owner, :node, CLOCK() + :seconds)
  ON CONFLICT (owner) DO UPDATE SET lease_until = CLOCK() + :seconds"""
_FORGET: Final = "DELETE FROM node WHERE lease_until < CLOCK() - 3600"
_LEAVE: Final = "DELETE FROM node WHERE owner = :owner"
_KNOW: Final = """
  INSERT INTO responder (name, home, host, node, fence, lease_until) VALUES (:name, :home, '', '', 0, 0)
  ON CONFLICT (name) DO UPDATE SET home = :home WHERE responder.home <> :home"""
_HOLD: Final = """
  UPDATE responder SET
    fence = CASE WHEN host = :owner AND lease_until > CLOCK() THEN fence ELSE fence + 1 END,
    host = :owner, node = :node, lease_until = CLOCK() + :seconds
  WHERE name = :name AND (host = :owner OR lease_until <= CLOCK())
    AND (home = :node OR NOT EXISTS (SELECT 1 FROM node AS it WHERE it.name = home AND it.lease_until > CLOCK()))
  RETURNING fence"""
_RENEW: Final = """
  UPDATE responder SET lease_until = CLOCK() + :seconds
  WHERE name = :name AND host = :owner AND fence = :fence AND lease_until > CLOCK() RETURNING fence"""
_LET_GO: Final = "UPDATE responder SET lease_until = 0 WHERE name = :name AND host = :owner"
_ALL_GO: Final = "UPDATE responder SET lease_until = 0"
_NO_NODES: Final = "DELETE FROM node"
_GUARD: Final = """
  UPDATE responder SET fence = fence
  WHERE name = :name AND host = :owner AND fence = :fence AND lease_until > CLOCK() RETURNING fence"""
_ALL: Final = "SELECT name, home, node, lease_until > CLOCK() FROM responder ORDER BY name"


def beat(seat: Seat) -> Steps[None]:
    """Let a process count as living for its lease from now."""
    yield Statement(_BEAT, {"owner": seat.owner, "node": seat.node, "seconds": seat.lease})
    yield Statement(_FORGET)


def leave(owner: str) -> Steps[None]:
    """Say that this process ends; what it holds is let go apart."""
    yield Statement(_LEAVE, {"owner": owner})


def evict_all() -> Steps[None]:
    """Where no other process can be: what an earlier one held when it died is free at once."""
    yield Statement(_ALL_GO)
    yield Statement(_NO_NODES)


def hold(name: str, home: str, seat: Seat) -> Steps[Hold | None]:
    """Hold the responder for a lease, or go on holding it; None while another process is to."""
    yield Statement(_KNOW, {"name": name, "home": home})
    row = yield from one(_HOLD, name=name, owner=seat.owner, node=seat.node, seconds=seat.lease)
    return None if row is None else Hold(name, seat.owner, row[0])


def renew(held: Hold, seconds: float) -> Steps[Fenced]:
    """Go on holding it until its turn is done, whoever is at home."""
    row = yield from one(_RENEW, name=held.responder, owner=held.owner, fence=held.fence, seconds=seconds)
    return Fenced.LOST if row is None else Fenced.DONE


def let_go(name: str, owner: str) -> Steps[None]:
    """Let another process hold it at once."""
    yield Statement(_LET_GO, {"name": name, "owner": owner})


def guard(held: Hold) -> Steps[Fenced]:
    """The first step of what a host writes: bars it once its lease has passed, and others until it is done."""
    row = yield from one(_GUARD, name=held.responder, owner=held.owner, fence=held.fence)
    return Fenced.LOST if row is None else Fenced.DONE


def responders() -> Steps[list[Responder]]:
    """All that were ever hosted on these books, and whether they are now."""
    rows = yield Statement(_ALL)
    return [Responder(name, home, node if online else "", bool(online)) for name, home, node, online in rows]
