"""Cards as JSON: in a list, after every write, and with their threads. Times are unix seconds, amounts base units."""

from collections.abc import Mapping

from retainer.protocol.encoding import Json
from retainer_provider.cards.records import Card, Line, Responder
from retainer_provider.cards.references import Reference, reference_text, references
from retainer_provider.wire.routing import Priced


def card_view(card: Card) -> dict[str, Json]:
    """The one shape of a card, in lists, answers to writes, and details."""
    return {
        "id": card.id,
        "sessionId": card.session_id,
        "scope": str(card.scope),
        "responder": card.responder,
        "creator": card.creator,
        "title": card.title,
        "titleSource": None if card.title_source is None else str(card.title_source),
        "status": str(card.status),
        "preview": card.preview,
        "lines": card.lines,
        "waiting": card.waiting,
        "turns": card.turns,
        "units": str(card.units),
        "amount": str(card.amount),
        "lastError": card.last_error,
        "createdAt": card.created_at // 1000,
        "updatedAt": card.updated_at // 1000,
    }


def line_view(card: Card, line: Line, previews: Mapping[tuple[str, int | None], str]) -> dict[str, Json]:
    """One line, with its references; `start` and `end` count code points of the body."""
    return {
        "line": line.number,
        "ref": reference_text(card.id, line.number),
        "role": str(line.role),
        "author": line.author,
        "at": line.at // 1000,
        "body": line.body,
        "answers": line.answers,
        "references": [_reference_view(found, previews) for found in references(line.body)],
    }


def responder_view(responder: Responder, turn: Priced) -> dict[str, Json]:
    """Who answers, whose sessions pay for it, and what a turn costs: by use, the most that it may."""
    return {
        "name": responder.name,
        "home": responder.home,
        "node": responder.node,
        "status": "online" if responder.online else "offline",
        "offer": turn.offer.id,
        "price": str(turn.offer.price * turn.tariff.max_units),
        "byUse": turn.tariff.count is not None,
    }


def _reference_view(found: Reference, previews: Mapping[tuple[str, int | None], str]) -> dict[str, Json]:
    return {
        "ref": str(found),
        "card": found.card,
        "line": found.line,
        "start": found.start,
        "end": found.end,
        # Null where the session that looks has no such card or line.
        "preview": previews.get((found.card, found.line)),
    }
