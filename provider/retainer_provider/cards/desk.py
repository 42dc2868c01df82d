"""What one can do with cards: everything that comes in is checked here, whoever brings it."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.steps import Steps
from retainer_provider.cards import hosting, problems, shelf
from retainer_provider.cards.ids import CHANCE_BYTES, card_id, is_card_id
from retainer_provider.cards.messages import storable
from retainer_provider.cards.records import (
    Card,
    CardScope,
    Line,
    Message,
    NewCard,
    Responder,
    Thread,
    TitleSource,
    Written,
)
from retainer_provider.cards.references import references
from retainer_provider.cards.titles import fits, one_line, shortened
from retainer_provider.clock import Clock
from retainer_provider.responder_settings import CardSettings
from retainer_provider.sessions.refusals import RefusedError
from retainer_provider.sessions.vouchers import check_metered

MAX_BODY_BYTES: Final = 65_536
"""Of one message, in UTF-8."""

PAGE: Final = 100
LINES: Final = 500

_PREVIEWS: Final = 100
_TRIES: Final = 3
_AFTER_ALL: Final = 2**62


class CardDesk:
    """Cards of the sessions that pay for them. Every refusal is a RefusedError, and nothing was written.

    `offers` says which offer's sessions pay for each responder, `limits` how much of cards one may have; `chance` gives
    random bytes.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        offers: Mapping[str, str],
        limits: CardSettings,
        chance: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._offers = offers
        self._limits = limits
        self._chance = chance

    async def create(
        self,
        session: SessionRecord,
        *,
        responder: str,
        creator: str,
        title: str | None = None,
        message: str | None = None,
        key: str | None = None,
    ) -> Card:
        """A new card with its first message, if there is one; or the card that an earlier request of this key made."""
        self._require_payer(session, responder)
        author = _author(creator)
        named = None if title is None else _title(title)
        first = None if message is None else _body(message)
        card = await self._created(session.session_id, responder, author, named, key)
        if first is None:
            return card
        return await self.send(session.session_id, card.id, author=author, body=first, key=key)

    async def _created(self, session_id: str, responder: str, creator: str, title: str | None, key: str | None) -> Card:
        for _ in range(_TRIES):
            now = self._clock.now_ms()
            new = NewCard(
                id=card_id(now, self._chance(CHANCE_BYTES)),
                session_id=session_id,
                scope=CardScope.CARD,
                responder=responder,
                creator=creator,
                title=title,
                request_key=key,
                now_ms=now,
            )
            written = await self._ledger.transact(shelf.make(new, self._limits.most_per_session))
            if written is Written.CARDS_FULL:
                raise problems.refused(written)
            if written is Written.DONE:
                found = None if key is None else await self._ledger.look(shelf.card_of_key(session_id, key))
                if found is not None and (found.responder, found.creator) != (responder, creator):
                    raise problems.refused(Written.CONFLICT)
                return found or await self.card(session_id, new.id)
        raise problems.refused(Written.COLLISION)

    async def main(self, session: SessionRecord, responder: str) -> Card:
        """The thread of the ask bar, made when it is first asked for."""
        self._require_payer(session, responder)
        now = self._clock.now_ms()
        new = NewCard(
            id=card_id(now, self._chance(CHANCE_BYTES)),
            session_id=session.session_id,
            scope=CardScope.MAIN,
            responder=responder,
            creator="",
            title=None,
            request_key=None,
            now_ms=now,
        )
        found = await self._ledger.look(shelf.main_card(session.session_id, responder))
        if found is None:
            await self._ledger.transact(shelf.make(new, self._limits.most_per_session))
            found = await self._ledger.look(shelf.main_card(session.session_id, responder))
        if found is None:
            raise problems.refused(Written.COLLISION)
        return found

    async def cards(self, session_id: str, *, archived: bool, before: str | None = None) -> Sequence[Card]:
        """Up to PAGE cards, last changed first: those behind the card `before`, where one is named."""
        last = None if before is None else await self.card(session_id, before)
        return await self._ledger.look(
            shelf.listed(
                session_id,
                archived=archived,
                before=_AFTER_ALL if last is None else last.updated_at,
                before_id="" if last is None else last.id,
                limit=PAGE,
            )
        )

    async def card(self, session_id: str, card: str) -> Card:
        """One card as it is listed."""
        found = await self._ledger.look(shelf.card(session_id, _id(card)))
        if found is None:
            raise problems.unknown_card()
        return found

    async def thread(self, session_id: str, card: str, after: int = 0) -> Thread:
        """A card with up to LINES lines that come after a line."""
        found = await self._ledger.look(shelf.thread(session_id, _id(card), after, LINES))
        if found is None:
            raise problems.unknown_card()
        return found

    async def previews(self, session_id: str, lines: Sequence[Line]) -> Mapping[tuple[str, int | None], str]:
        """What the lines' references show, as far as the session may see it; of a card its title."""
        found: dict[tuple[str, int | None], str] = {}
        # Those that lead nowhere are looked for as well, and count.
        named = ((one.card, one.line) for line in lines for one in references(line.body))
        for card, number in islice(_once(named), _PREVIEWS):
            thread = await self._ledger.look(shelf.thread(session_id, card, (number or 1) - 1, 1))
            if thread is None:
                continue
            if number is None:
                found[card, None] = thread.card.title or thread.card.preview
            elif thread.lines and thread.lines[0].number == number:
                found[card, number] = shortened(thread.lines[0].body)
        return found

    async def send(self, session_id: str, card: str, *, author: str, body: str, key: str | None) -> Card:
        """Write a message, which the responder answers in its turn."""
        text = _body(body)
        message = Message(
            author=_author(author),
            body=text,
            preview=shortened(text),
            request_key=key,
            now_ms=self._clock.now_ms(),
        )
        steps = shelf.send(session_id, _id(card), message, self._limits.most_waiting)
        return await self._write(session_id, card, steps)

    async def set_title(self, session_id: str, card: str, title: str) -> Card:
        """Give a card its title; a person's stays whatever the responder would call it."""
        steps = shelf.set_title(session_id, _id(card), _title(title), TitleSource.PERSON, self._clock.now_ms())
        return await self._write(session_id, card, steps)

    async def archive(self, session_id: str, card: str) -> Card:
        """Put a card away."""
        return await self._write(session_id, card, shelf.archive(session_id, _id(card), self._clock.now_ms()))

    async def try_again(self, session_id: str, card: str) -> Card:
        """Run the turn again that ended in an error."""
        return await self._write(session_id, card, shelf.try_again(session_id, _id(card), self._clock.now_ms()))

    async def responders(self) -> Sequence[Responder]:
        """Who answers here, and who of them is there now."""
        known = {one.name: one for one in await self._ledger.look(hosting.responders())}
        return [known.get(name, Responder(name, "", "", online=False)) for name in sorted(self._offers)]

    async def _write(self, session_id: str, card: str, steps: Steps[Written]) -> Card:
        written = await self._ledger.transact(steps)
        if written is not Written.DONE:
            raise problems.refused(written)
        return await self.card(session_id, card)

    def _require_payer(self, session: SessionRecord, responder: str) -> None:
        offer = self._offers.get(responder)
        if offer is None:
            raise problems.unknown_responder(responder)
        if session.offer_id != offer:
            raise problems.wrong_offer(responder, offer)
        # A turn runs when its responder comes to it, with nobody there to sign a voucher.
        refusal = check_metered(session)
        if refusal is not None:
            raise RefusedError(refusal)


def _once(named: Iterable[tuple[str, int | None]]) -> Iterator[tuple[str, int | None]]:
    seen: set[tuple[str, int | None]] = set()
    for one in named:
        if one not in seen:
            seen.add(one)
            yield one


def _id(text: str) -> str:
    if not is_card_id(text):
        raise problems.bad_id(text)
    return text


def _title(text: str) -> str:
    line = one_line(text)
    if not line or not fits(line):
        raise problems.bad_title()
    return line


def _author(text: str) -> str:
    line = one_line(text)
    if not line or not fits(line):
        raise problems.bad_message("`author` is who writes, on one line of 1 to 80 characters: send a name.")
    return line


def _body(text: str) -> str:
    if not text.strip() or not one_line(text[:MAX_BODY_BYTES]):
        raise problems.bad_message("The message is empty: write something.")
    if storable(text) != text:
        raise problems.bad_message("The message holds NUL or half a character, which cannot be kept: leave it out.")
    if len(text.encode()) > MAX_BODY_BYTES:
        raise problems.bad_message(f"The message exceeds {MAX_BODY_BYTES} bytes: send a shorter one.")
    return text
