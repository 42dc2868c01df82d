"""Turns in SQL, for both stores: taken in order, written down, and ended. Each is the steps of a transaction.

Every step of a host is guarded by its hold, so that of two processes that take themselves for it one writes. What
is sent is fixed before it is sent, what came is kept before it is charged, and the ledger charges by the turn's key.
So a turn that is interrupted anywhere is taken up where it was: not asked again, and not charged again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from retainer.protocol.encoding import Json
from retainer_provider.activity.log import Event, append
from retainer_provider.books.steps import Statement, Steps, one
from retainer_provider.cards import shelf
from retainer_provider.cards.hosting import guard
from retainer_provider.cards.records import (
    Card,
    CardScope,
    Charged,
    Fenced,
    Hold,
    Line,
    Message,
    TitleSource,
    Turn,
    TurnKind,
)

Compose = Callable[[Card, TurnKind, int, Sequence[Line], str | None], str]
"""What is sent for a turn of a card: its kind and line, the thread, and what the responder gave to go on with."""

CONTEXT_LINES: Final = 200
"""The latest lines of a thread that a responder is told."""

_RUNNING: Final = """
  UPDATE card_turn SET fence = :fence WHERE responder = :name AND state = 'running'
  RETURNING number, card, kind, line, attempt, request, answer"""
# In the order in which they were asked for; a card that stands on an error waits, and holds up no other.
_TAKE: Final = """
  UPDATE card_turn SET state = 'running', fence = :fence
  WHERE number = (
    SELECT number FROM card_turn AS due
    WHERE responder = :name AND state = 'queued'
      AND NOT EXISTS (SELECT 1 FROM card_turn AS stuck WHERE stuck.card = due.card AND stuck.state = 'error')
    ORDER BY number LIMIT 1
  ) AND state = 'queued'
  RETURNING number, card, kind, line, attempt, request, answer"""
_DUE: Final = "SELECT 1 FROM card_turn WHERE responder = :name AND state IN ('queued', 'running') LIMIT 1"
_SESSION: Final = "SELECT session FROM card WHERE id = :card"
_RESUME: Final = "SELECT resume FROM card_runtime WHERE card = :card"
_COMPOSED: Final = "UPDATE card_turn SET request = :request WHERE number = :number"
_KEEP: Final = """
  UPDATE card_turn SET answer = :answer
  WHERE number = :number AND state = 'running' AND fence = :fence RETURNING number"""
_END: Final = """
  UPDATE card_turn SET state = 'done', units = :units, amount = :amount, error = NULL
  WHERE number = :number AND state = 'running' AND fence = :fence RETURNING number"""
# An attempt that is known to be over takes its request and answer with it: the next one is a new one, with a new key.
_FAIL: Final = """
  UPDATE card_turn SET state = 'error', error = :error,
    request = CASE WHEN :over = 1 THEN NULL ELSE request END, answer = CASE WHEN :over = 1 THEN NULL ELSE answer END,
    attempt = attempt + :over
  WHERE number = :number AND state = 'running' AND fence = :fence RETURNING number"""
_SPENT: Final = """
  INSERT INTO card_runtime (card, resume, turns, units, amount, last_error)
  VALUES (:card, :resume, 1, :units, :amount, NULL)
  ON CONFLICT (card) DO UPDATE SET resume = coalesce(:resume, card_runtime.resume), turns = card_runtime.turns + 1,
    units = card_runtime.units + :units, amount = card_runtime.amount + :amount, last_error = NULL"""
_TROUBLE: Final = """
  INSERT INTO card_runtime (card, last_error) VALUES (:card, :error)
  ON CONFLICT (card) DO UPDATE SET last_error = :error"""


def due(name: str) -> Steps[bool]:
    """Whether something may be to do for a responder."""
    return (yield from one(_DUE, name=name)) is not None


def take(held: Hold, compose: Compose, now_ms: int) -> Steps[Turn | Fenced | None]:
    """The turn that is to run now: one that an earlier host left, or the next; None while there is none."""
    if (yield from guard(held)) is Fenced.LOST:
        return Fenced.LOST
    bindings: dict[str, object] = {"name": held.responder, "fence": held.fence}
    row = (yield from one(_RUNNING, **bindings)) or (yield from one(_TAKE, **bindings))
    if row is None:
        return None
    number, card_id, kind, line, attempt, request, answer = row
    (session,) = (yield from one(_SESSION, card=card_id)) or ("",)
    card = yield from shelf.card(session, card_id)
    if card is None:
        raise LookupError(f"turn {number} is of card {card_id}, which is not there")
    if request is None:
        resume = yield from one(_RESUME, card=card_id)
        lines = yield from shelf.lines(card_id, card.lines - CONTEXT_LINES, CONTEXT_LINES)
        request = compose(card, TurnKind(kind), line, lines, None if resume is None else resume[0])
        yield Statement(_COMPOSED, {"number": number, "request": request})
    turn = Turn(
        number=number,
        card=card_id,
        session_id=session,
        scope=card.scope,
        responder=held.responder,
        kind=TurnKind(kind),
        line=line,
        attempt=attempt,
        request=request,
        answer=answer,
    )
    yield from _happened(turn, "thinking", now_ms, {"line": line, "kind": str(kind)})
    return turn


def keep(held: Hold, turn: Turn, answer: str) -> Steps[Fenced]:
    """Keep what came before it is charged."""
    if (yield from guard(held)) is Fenced.LOST:
        return Fenced.LOST
    row = yield from one(_KEEP, number=turn.number, fence=held.fence, answer=answer)
    return Fenced.LOST if row is None else Fenced.DONE


def say(held: Hold, turn: Turn, text: str, now_ms: int) -> Steps[Fenced]:
    """Tell those who watch what has come so far."""
    if (yield from guard(held)) is Fenced.LOST:
        return Fenced.LOST
    yield from _happened(turn, "thinking", now_ms, {"line": turn.line, "kind": str(turn.kind), "text": text})
    return Fenced.DONE


def end(held: Hold, turn: Turn, charged: Charged, now_ms: int) -> Steps[Fenced]:
    """The answer goes into the thread, or the title on the card; what it cost is noted."""
    if (yield from guard(held)) is Fenced.LOST:
        return Fenced.LOST
    yield from shelf.locked(turn.card)
    spent: dict[str, object] = {"units": charged.units, "amount": charged.amount}
    if (yield from one(_END, number=turn.number, fence=held.fence, **spent)) is None:
        return Fenced.LOST
    yield Statement(_SPENT, {"card": turn.card, "resume": charged.resume, **spent})
    if turn.kind is TurnKind.TITLE:
        source = TitleSource.RESPONDER
        yield from shelf.set_title(turn.session_id, turn.card, charged.text, source, now_ms, over=False)
    else:
        message = Message(
            author=turn.responder,
            body=charged.text,
            preview=charged.preview,
            request_key=None,
            now_ms=now_ms,
            answers=turn.line,
        )
        if not (yield from shelf.answer_line(turn.card, message)):
            raise LookupError(f"turn {turn.number} would write on card {turn.card}, which has no title yet")
    told: dict[str, Json] = {"line": turn.line, "kind": str(turn.kind), "units": charged.units}
    yield from _happened(turn, "done", now_ms, {**told, "amount": str(charged.amount)})
    return Fenced.DONE


def fail(held: Hold, turn: Turn, error: str, now_ms: int, *, over: bool, blocked: bool) -> Steps[Fenced]:
    """The turn waits for somebody to try again; `over` when this attempt is known to be booked, uncharged.

    `blocked` when it is the session that cannot pay, not the responder that failed.
    """
    if (yield from guard(held)) is Fenced.LOST:
        return Fenced.LOST
    yield from shelf.locked(turn.card)
    failed = yield from one(_FAIL, number=turn.number, fence=held.fence, error=error, over=int(over))
    if failed is None:
        return Fenced.LOST
    yield Statement(_TROUBLE, {"card": turn.card, "error": error})
    yield from _happened(turn, "blocked" if blocked else "error", now_ms, {"line": turn.line, "error": error})
    return Fenced.DONE


def _happened(turn: Turn, kind: str, now_ms: int, data: Mapping[str, Json]) -> Steps[None]:
    yield from append(
        Event(
            session_id=turn.session_id,
            scope=str(CardScope(turn.scope)),
            ref=turn.card,
            kind=kind,
            data=data,
            at=now_ms,
        )
    )
