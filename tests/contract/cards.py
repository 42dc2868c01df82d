"""Cards for tests of the stores: sessions that could pay, and the steps that a host takes."""

from collections.abc import Sequence
from dataclasses import replace

from retainer_provider.books.ledger import Ledger
from retainer_provider.cards import hosting, shelf, turns
from retainer_provider.cards.ids import card_id
from retainer_provider.cards.records import (
    Card,
    CardScope,
    Charged,
    Fenced,
    Hold,
    Line,
    Message,
    NewCard,
    Seat,
    Turn,
    TurnKind,
    Written,
)
from tests.books import new_session

LEASE = 30.0
MOST = 100
"""Of a session's cards, and of its turns that wait."""


async def session(ledger: Ledger, number: int = 1) -> str:
    """A session on the books."""
    new = new_session(number)
    await ledger.admit(new)
    return new.session_id


def new_card(session_id: str, number: int = 1, **changes: object) -> NewCard:
    """A card to be made, with an id of its own."""
    new = NewCard(
        id=card_id(1_700_000_000_000 + number, number.to_bytes(10, "big")),
        session_id=session_id,
        scope=CardScope.CARD,
        responder="ada",
        creator="me",
        title=None,
        request_key=None,
        now_ms=1_700_000_000_000 + number,
    )
    return replace(new, **changes)  # type: ignore[arg-type]


async def made(ledger: Ledger, new: NewCard) -> Card:
    """A card that is there."""
    assert await ledger.transact(shelf.make(new, MOST)) is Written.DONE
    return await shown(ledger, new)


async def shown(ledger: Ledger, new: NewCard) -> Card:
    """The card as it is now."""
    found = await ledger.look(shelf.card(new.session_id, new.id))
    assert found is not None
    return found


def message(body: str, author: str = "me", key: str | None = None) -> Message:
    """Something that somebody says."""
    return Message(author=author, body=body, preview=body[:80], request_key=key, now_ms=1_700_000_001_000)


async def sent(ledger: Ledger, new: NewCard, body: str, **who: str) -> Written:
    """Say something on a card."""
    return await ledger.transact(shelf.send(new.session_id, new.id, message(body, **who), MOST))


async def held(ledger: Ledger, owner: str = "first", seconds: float = LEASE, responder: str = "ada") -> Hold:
    """The responder, held by a process."""
    hold = await ledger.transact(hosting.hold(responder, "", Seat(owner, "", seconds)))
    assert hold is not None
    return hold


def compose(card: Card, kind: TurnKind, line: int, lines: Sequence[Line], resume: str | None) -> str:
    """What is sent: all that it depends on."""
    return f"{kind}:{len(lines)}:{lines[line - 1].body}:{resume}"


async def taken(ledger: Ledger, hold: Hold) -> Turn:
    """The turn that is to run now."""
    turn = await ledger.transact(turns.take(hold, compose, 0))
    assert isinstance(turn, Turn)
    return turn


async def ended(ledger: Ledger, hold: Hold, turn: Turn, text: str = "an answer") -> Fenced:
    """End a turn with this answer."""
    charged = Charged(text=text, preview=text, resume=f"after {turn.number}", units=1, amount=8_000)
    return await ledger.transact(turns.end(hold, turn, charged, 1_700_000_002_000))
