"""What is kept of cards: the card, the lines of its thread, its turns; and what writing to one can end in."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class CardScope(StrEnum):
    """Which view a thread belongs to."""

    MAIN = "main"  # the ask bar's: one per session and responder, not listed
    CARD = "card"


class CardStatus(StrEnum):
    """What a card is doing; it follows from what is kept, and is kept nowhere itself."""

    NEEDS_TITLE = "needs_title"
    RUNNING = "running"
    ACTIVE = "active"
    ERROR = "error"
    ARCHIVED = "archived"


class TitleSource(StrEnum):
    """Who gave a title."""

    PERSON = "person"
    RESPONDER = "responder"


class Role(StrEnum):
    """Who wrote a line."""

    PERSON = "person"
    RESPONDER = "responder"


class TurnKind(StrEnum):
    """What a responder is to do."""

    TITLE = "title"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card as it is listed. Times are unix milliseconds, `amount` base units charged on it so far."""

    id: str
    session_id: str
    scope: CardScope
    responder: str
    creator: str
    title: str | None
    title_source: TitleSource | None
    preview: str
    lines: int
    created_at: int
    updated_at: int
    status: CardStatus
    waiting: int  # turns that are queued or running
    turns: int  # done
    units: int
    amount: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a thread, from 1; `at` in unix milliseconds, `answers` the line that it answers."""

    number: int
    role: Role
    author: str
    at: int
    body: str
    answers: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCard:
    """A card to be made. A repeated `request_key` of one session finds the card that the first made."""

    id: str
    session_id: str
    scope: CardScope
    responder: str
    creator: str
    title: str | None
    request_key: str | None
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody writes on a card; `preview` is the body in short. A repeated `request_key` writes it once."""

    author: str
    body: str
    preview: str
    request_key: str | None
    now_ms: int
    answers: int | None = None


class Written(StrEnum):
    """Of writing to a card."""

    DONE = "done"
    UNKNOWN = "unknown"  # no such card of this session
    COLLISION = "collision"  # the id is taken
    ARCHIVED = "archived"
    TITLE_REQUIRED = "title_required"
    CONFLICT = "conflict"  # the same key, another message
    CARDS_FULL = "cards_full"  # the session has as many cards as it may
    TURNS_FULL = "turns_full"  # as many of its turns wait as may


class Fenced(StrEnum):
    """Of what a responder's host writes."""

    DONE = "done"
    LOST = "lost"  # its lease has passed, or another host has the responder: nothing was written


@dataclass(frozen=True, slots=True)
class Seat:
    """A process among all that share the books: `owner` is its alone, `node` what it belongs to; leases in seconds."""

    owner: str
    node: str
    lease: float


@dataclass(frozen=True, slots=True)
class Hold:
    """A responder held by a process, until its lease runs out; a higher `fence` bars all lower ones."""

    responder: str
    owner: str
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn that runs. `request` is what is sent, the same however often; `answer` what came, once it is kept."""

    number: int
    card: str
    session_id: str
    scope: CardScope
    responder: str
    kind: TurnKind
    line: int
    attempt: int
    request: str
    answer: str | None

    @property
    def key(self) -> str:
        """By which it is charged at most once, and its answer found again."""
        return f"card-turn-{self.number}-{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What a turn came to: text for the thread, or a title; the units and base units charged."""

    text: str
    preview: str
    resume: str | None
    units: int
    amount: int


@dataclass(frozen=True, slots=True)
class Responder:
    """Who answers; `online` while a process holds it."""

    name: str
    home: str
    node: str
    online: bool


@dataclass(frozen=True, slots=True)
class Thread:
    """A card with lines of its thread."""

    card: Card
    lines: Sequence[Line]
