"""Cards in SQL, for both stores: made, listed, read, written to, titled, archived. Each is the steps of a transaction.

Transactions that write lock the card's row first, then its turns, then the log; those that count what a session
has lock the log's counter before they add to it, and touch no turn that anybody takes.
"""

from collections.abc import Mapping
from typing import Final

from retainer.protocol.encoding import Json
from retainer_provider.activity.log import Event, append
from retainer_provider.books.steps import Ring, Statement, Steps, one
from retainer_provider.cards.records import (
    Card,
    CardScope,
    CardStatus,
    Line,
    Message,
    NewCard,
    Role,
    Thread,
    TitleSource,
    TurnKind,
    Written,
)

_STATUS: Final = """
  CASE
    WHEN archived_at > 0 THEN 'archived'
    WHEN EXISTS (SELECT 1 FROM card_turn WHERE card_turn.card = card.id AND state = 'running') THEN 'running'
    WHEN EXISTS (SELECT 1 FROM card_turn WHERE card_turn.card = card.id AND state = 'error') THEN 'error'
    WHEN title IS NULL AND scope = 'card' THEN 'needs_title'
    ELSE 'active'
  END"""
_CARD: Final = f"""
  SELECT id, session, scope, responder, creator, title, title_source, preview, lines, created_at, updated_at,
    {_STATUS} AS status,
    (SELECT count(*) FROM card_turn WHERE card_turn.card = card.id AND state IN ('queued', 'running')) AS waiting,
    coalesce(turns, 0), coalesce(units, 0), coalesce(amount, 0), last_error
  FROM card LEFT JOIN card_runtime ON card_runtime.card = card.id"""  # noqa: S608 - of constants
_ONE: Final = f"{_CARD} WHERE id = :id AND session = :session"
_OF_KEY: Final = f"{_CARD} WHERE session = :session AND request_key = :key"
_MAIN: Final = f"{_CARD} WHERE session = :session AND responder = :responder AND scope = 'main'"
_LISTED: Final = f"""
  {_CARD} WHERE session = :session AND scope = 'card' AND (archived_at > 0) = (:archived = 1)
  AND (updated_at, id) < (:before, :before_id) ORDER BY updated_at DESC, id DESC LIMIT :page"""
_LINES: Final = """
  SELECT line, role, author, at, body, answers FROM card_line
  WHERE card = :card AND line > :after ORDER BY line LIMIT :page"""
# Whoever counts a session's cards or turns counts alone, until its transaction ends: what it counted stays so.
_ALONE: Final = """
  INSERT INTO activity_count (session, last) VALUES (:session, 0)
  ON CONFLICT (session) DO UPDATE SET last = activity_count.last"""
_MAKE: Final = """
  INSERT INTO card (
    id, session, scope, responder, creator, request_key, title, title_source, preview, lines, created_at, updated_at)
  SELECT :id, :session, :scope, :responder, :creator, :key, :title, :source, '', 0, :now, :now
  WHERE :scope = 'main' OR (SELECT count(*) FROM card WHERE session = :session AND scope = 'card') < :most
  ON CONFLICT DO NOTHING RETURNING id"""
_MADE_BEFORE: Final = """
  SELECT 1 FROM card WHERE session = :session
  AND (request_key = :key OR (scope = 'main' AND scope = :scope AND responder = :responder))"""
_WAITING: Final = """
  SELECT count(*) FROM card JOIN card_turn ON card_turn.card = card.id
  WHERE card.session = :session AND card_turn.state IN ('queued', 'running', 'error')"""
_LOCK: Final = """
  UPDATE card SET lines = lines WHERE id = :id AND session = :session
  RETURNING archived_at, scope, responder, creator, title, lines"""
_LOCK_ANY: Final = "UPDATE card SET lines = lines WHERE id = :id RETURNING scope, title, lines"
_REPEATED: Final = "SELECT body, author FROM card_line WHERE card = :card AND request_key = :key"
_GROWN: Final = "UPDATE card SET lines = :line, preview = :preview, updated_at = :now WHERE id = :card"
_WRITE: Final = """
  INSERT INTO card_line (card, line, role, author, at, body, answers, request_key)
  VALUES (:card, :line, :role, :author, :now, :body, :answers, :key)"""
_QUEUE: Final = """
  INSERT INTO card_turn (card, responder, kind, line, state) VALUES (:card, :responder, :kind, :line, 'queued')"""
_HAS_TITLE_TURN: Final = """
  SELECT 1 FROM card_turn WHERE card = :card AND kind = 'title' AND state IN ('queued', 'running', 'error')"""
_AGAIN: Final = "UPDATE card_turn SET state = 'queued', error = NULL WHERE card = :card AND state = 'error'"
_UNTROUBLED: Final = "UPDATE card_runtime SET last_error = NULL WHERE card = :card"
_TITLE: Final = "UPDATE card SET title = :title, title_source = :source, updated_at = :now WHERE id = :card"
_ARCHIVE: Final = "UPDATE card SET archived_at = :now, updated_at = :now WHERE id = :card"
_DROP: Final = "UPDATE card_turn SET state = 'dropped' WHERE card = :card AND state IN ('queued', 'error')"
_DROP_TITLE: Final = """
  UPDATE card_turn SET state = 'dropped' WHERE card = :card AND kind = 'title' AND state IN ('queued', 'error')"""


def make(new: NewCard, most: int) -> Steps[Written]:
    """Enter a new card, unless its session has `most`; COLLISION when its id is taken.

    A card of the same key, or the main thread, counts as made.
    """
    bindings = {
        "id": new.id,
        "session": new.session_id,
        "scope": str(new.scope),
        "responder": new.responder,
        "creator": new.creator,
        "key": new.request_key,
        "title": new.title,
        "source": None if new.title is None else str(TitleSource.PERSON),
        "now": new.now_ms,
    }
    yield Statement(_ALONE, {"session": new.session_id})
    made = yield Statement(_MAKE, {**bindings, "most": most})
    if made:
        if new.scope is CardScope.CARD:
            yield from changed(new.session_id, new.id, new.scope, new.now_ms, {"change": "created"})
        return Written.DONE
    if (yield Statement(_MADE_BEFORE, bindings)):
        return Written.DONE
    taken = yield from one("SELECT 1 FROM card WHERE id = :id", id=new.id)
    return Written.CARDS_FULL if taken is None else Written.COLLISION


def card(session_id: str, card_id: str) -> Steps[Card | None]:
    """One card of the session."""
    return _card((yield from one(_ONE, id=card_id, session=session_id)))


def card_of_key(session_id: str, key: str) -> Steps[Card | None]:
    """The card that a request with this key made."""
    return _card((yield from one(_OF_KEY, session=session_id, key=key)))


def main_card(session_id: str, responder: str) -> Steps[Card | None]:
    """The thread of the ask bar."""
    return _card((yield from one(_MAIN, session=session_id, responder=responder)))


def listed(session_id: str, *, archived: bool, before: int, before_id: str, limit: int) -> Steps[list[Card]]:
    """Cards of the session, archived ones or the others, last changed first, those that come behind `before`."""
    bindings = {
        "session": session_id,
        "archived": int(archived),
        "before": before,
        "before_id": before_id,
        "page": limit,
    }
    rows = yield Statement(_LISTED, bindings)
    return [found for row in rows if (found := _card(row)) is not None]


def thread(session_id: str, card_id: str, after: int, limit: int) -> Steps[Thread | None]:
    """A card and its lines with higher numbers."""
    found = yield from card(session_id, card_id)
    if found is None:
        return None
    return Thread(found, (yield from lines(card_id, after, limit)))


def lines(card_id: str, after: int, limit: int) -> Steps[list[Line]]:
    """Lines of a card."""
    rows = yield Statement(_LINES, {"card": card_id, "after": after, "page": limit})
    return [Line(number, Role(role), *rest) for number, role, *rest in rows]


def send(session_id: str, card_id: str, message: Message, most: int) -> Steps[Written]:
    """Write a message, and queue the turns that answer it; a card that stood on an error goes on as well.

    Not when more than `most` turns of the session would wait or stand on an error.
    """
    row = yield from one(_LOCK, id=card_id, session=session_id)
    if row is None:
        return Written.UNKNOWN
    archived_at, scope, responder, creator, title, count = row
    if message.request_key is not None:
        before = yield from one(_REPEATED, card=card_id, key=message.request_key)
        if before is not None:
            return Written.DONE if before == (message.body, message.author) else Written.CONFLICT
    if archived_at:
        return Written.ARCHIVED
    untitled = title is None and scope == CardScope.CARD
    if untitled and message.author != creator:
        return Written.TITLE_REQUIRED
    kinds = [TurnKind.ANSWER]
    if untitled and (yield from one(_HAS_TITLE_TURN, card=card_id)) is None:
        kinds.insert(0, TurnKind.TITLE)
    yield Statement(_ALONE, {"session": session_id})
    waiting = yield from one(_WAITING, session=session_id)
    if waiting is not None and waiting[0] + len(kinds) > most:
        return Written.TURNS_FULL
    line = count + 1
    yield from _write(card_id, line, Role.PERSON, message)
    yield Statement(_AGAIN, {"card": card_id})
    yield Statement(_UNTROUBLED, {"card": card_id})
    for kind in kinds:
        yield Statement(_QUEUE, {"card": card_id, "responder": responder, "kind": str(kind), "line": line})
    yield from changed(session_id, card_id, CardScope(scope), message.now_ms, {"change": "message", "line": line})
    return Written.DONE


def answer_line(card_id: str, message: Message) -> Steps[bool]:
    """Write a responder's answer as part of a transaction; False while the card has no title, which bars responders."""
    row = yield from locked(card_id)
    if row is None or (row[1] is None and row[0] == CardScope.CARD):
        return False
    yield from _write(card_id, row[2] + 1, Role.RESPONDER, message)
    return True


def locked(card_id: str) -> Steps[tuple[str, str | None, int] | None]:
    """Lock a card, whoever's it is: its scope, title and number of lines."""
    row = yield from one(_LOCK_ANY, id=card_id)
    return None if row is None else (row[0], row[1], row[2])


def set_title(
    session_id: str, card_id: str, title: str, source: TitleSource, now_ms: int, *, over: bool = True
) -> Steps[Written]:
    """Give a title, and drop the turn that was to find one; without `over` a title that is there stays."""
    row = yield from one(_LOCK, id=card_id, session=session_id)
    if row is None:
        return Written.UNKNOWN
    if row[0] and over:
        return Written.ARCHIVED
    if over or row[4] is None:
        yield Statement(_TITLE, {"card": card_id, "title": title, "source": str(source), "now": now_ms})
        yield Statement(_DROP_TITLE, {"card": card_id})
        yield from changed(session_id, card_id, CardScope(row[1]), now_ms, {"change": "title", "title": title})
    return Written.DONE


def archive(session_id: str, card_id: str, now_ms: int) -> Steps[Written]:
    """Put a card away: nothing is written to it any more, and what waits is dropped uncharged. Twice is harmless."""
    row = yield from one(_LOCK, id=card_id, session=session_id)
    if row is None or row[1] == CardScope.MAIN:
        return Written.UNKNOWN
    if not row[0]:
        yield Statement(_ARCHIVE, {"card": card_id, "now": now_ms})
        yield Statement(_DROP, {"card": card_id})
        yield from changed(session_id, card_id, CardScope(row[1]), now_ms, {"change": "archived"})
    return Written.DONE


def try_again(session_id: str, card_id: str, now_ms: int) -> Steps[Written]:
    """Queue the turn again that ended in an error, in its old place."""
    row = yield from one(_LOCK, id=card_id, session=session_id)
    if row is None:
        return Written.UNKNOWN
    if row[0]:
        return Written.ARCHIVED
    yield Statement(_AGAIN, {"card": card_id})
    yield Statement(_UNTROUBLED, {"card": card_id})
    yield from changed(session_id, card_id, CardScope(row[1]), now_ms, {"change": "retry"})
    return Written.DONE


def changed(session_id: str, card_id: str, scope: CardScope, now_ms: int, data: Mapping[str, Json]) -> Steps[None]:
    """Tell those who watch that a card is not as it was."""
    yield from append(Event(session_id=session_id, scope=str(scope), ref=card_id, kind="changed", data=data, at=now_ms))
    yield Ring()


def _write(card_id: str, line: int, role: Role, message: Message) -> Steps[None]:
    yield Statement(_GROWN, {"card": card_id, "line": line, "preview": message.preview, "now": message.now_ms})
    yield Statement(
        _WRITE,
        {
            "card": card_id,
            "line": line,
            "role": str(role),
            "author": message.author,
            "now": message.now_ms,
            "body": message.body,
            "answers": message.answers,
            "key": message.request_key,
        },
    )


def _card(row: tuple[object, ...] | None) -> Card | None:
    if row is None:
        return None
    found = dict(zip(_FIELDS, row, strict=True))
    source = found["title_source"]
    found |= {
        "scope": CardScope(str(found["scope"])),
        "status": CardStatus(str(found["status"])),
        "title_source": None if source is None else TitleSource(str(source)),
    }
    return Card(**found)  # type: ignore[arg-type]  # columns are as the schema has them


_FIELDS: Final = (
    *("id", "session_id", "scope", "responder", "creator", "title", "title_source", "preview", "lines", "created_at"),
    *("updated_at", "status", "waiting", "turns", "units", "amount", "last_error"),
)
