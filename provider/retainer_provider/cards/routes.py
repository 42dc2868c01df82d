"""The JSON API of cards. Authorize, parse, call the desk once, serialize.

Every path is about the cards of the session that the request's own credential names: no path names a session.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer_provider.activity.following import follow
from retainer_provider.activity.log import events_after, latest
from retainer_provider.books.ledger import Ledger, LedgerError
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.steps import Bell
from retainer_provider.cards.access import CardAccess
from retainer_provider.cards.border import (
    ClientLeftError,
    MessageBody,
    NewCardBody,
    TitleBody,
    asked_for,
    body_of,
    flag_of,
    number_of,
)
from retainer_provider.cards.desk import CardDesk
from retainer_provider.cards.records import Card
from retainer_provider.cards.views import card_view, line_view, responder_view
from retainer_provider.event_stream import MEDIA_TYPE
from retainer_provider.people.streams import EventStreams
from retainer_provider.rates import Throttle
from retainer_provider.sessions.engine import CHAIN_UNAVAILABLE
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer, json_answer, send_answer
from retainer_provider.wire.door import caller_of
from retainer_provider.wire.gate import LEDGER_UNAVAILABLE
from retainer_provider.wire.head import idempotency_key
from retainer_provider.wire.problems import STATUS_CREATED, STATUS_OK
from retainer_provider.wire.routing import Priced

Refuse = Callable[[Refusal, str], Awaitable[Answer]]
"""A refusal as an answer to a caller."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One request: the session that it is for, and the card or responder that its path names."""

    session: SessionRecord
    name: str
    scope: Scope
    receive: Receive


class CardsApi:
    """Serves `cards` and `responders` under `prefix`; `owns` tells its paths from others. `prices` has a turn's."""

    def __init__(
        self,
        *,
        desk: CardDesk,
        prices: Mapping[str, Priced],
        ledger: Ledger,
        bell: Bell,
        prefix: str,
        access: CardAccess,
        writes: Throttle,
        streams: EventStreams,
        refusal: Refuse,
        body_seconds: float,
    ) -> None:
        self._desk = desk
        self._prices = prices
        self._ledger = ledger
        self._bell = bell
        self._roots = (f"{prefix}/cards", f"{prefix}/responders")
        self._below = tuple(f"{root}/" for root in self._roots)
        self._prefix = prefix
        self._access = access
        self._writes = writes
        self._refusal = refusal
        self._streams = streams
        self._seconds = body_seconds
        self._handlers: dict[str, Callable[[Asking], Awaitable[Answer]]] = {
            "GET cards": self._list,
            "POST cards": self._create,
            "GET cards/events": self._events,
            "GET cards/*": self._read,
            "POST cards/*/messages": self._send,
            "POST cards/*/title": self._title,
            "POST cards/*/archive": self._archive,
            "POST cards/*/retry": self._retry,
            "GET responders": self._responders,
            "POST responders/*/ask": self._ask,
        }

    def owns(self, scope: Scope) -> bool:
        """Whether a request is for this API to answer."""
        path: str = scope["path"]
        return path in self._roots or path.startswith(self._below)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that `owns` has accepted."""
        try:
            session = await self._access(scope)
            if scope["method"] == "POST":
                self._require_room(session)
            if scope["path"] == f"{self._prefix}/cards/events" and _wants_stream(scope):
                await self._stream(session.session_id, scope, receive, send)
                return
            answer = await self._answer(session, scope, receive)
        except ClientLeftError:
            return
        except RefusedError as error:
            answer = await self._refusal(error.refusal, caller_of(scope))
        except ChainUnavailableError:
            answer = await self._refusal(CHAIN_UNAVAILABLE, caller_of(scope))
        except LedgerError:
            answer = await self._refusal(LEDGER_UNAVAILABLE, caller_of(scope))
        await send_answer(send, answer, scope["method"])

    def _require_room(self, session: SessionRecord) -> None:
        """Cards and messages cost their payer nothing until they are answered, and are kept (F21)."""
        if seconds := self._writes.take(session.payer):
            wait = math.ceil(seconds)
            raise refuse(
                ProblemType.TOO_MANY_REQUESTS,
                f"This payer writes on cards more often than this service allows: try again after {wait} s.",
                retry_after=wait,
            )

    async def _answer(self, session: SessionRecord, scope: Scope, receive: Receive) -> Answer:
        parts = scope["path"].removeprefix(f"{self._prefix}/").split("/")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        # Whatever stands in second place is a card or a responder, but for the one word that neither is called.
        name = parts[1] if len(parts) > 1 and parts[1] != "events" else ""
        pattern = "/".join("*" if name and place == 1 else part for place, part in enumerate(parts))
        handle = self._handlers.get(f"{method} {pattern}")
        if handle is None:
            raise refuse(ProblemType.ROUTE_UNKNOWN, "Nothing about cards is served at this path and method.")
        return await handle(Asking(session, name, scope, receive))

    async def _list(self, asking: "Asking") -> Answer:
        archived = flag_of(asked_for(asking.scope, "archived"), "archived")
        before = asked_for(asking.scope, "before")
        found = await self._desk.cards(asking.session.session_id, archived=archived, before=before)
        return json_answer(STATUS_OK, {"cards": [card_view(card) for card in found]})

    async def _read(self, asking: "Asking") -> Answer:
        session_id = asking.session.session_id
        after = number_of(asked_for(asking.scope, "after"), "after") or 0
        thread = await self._desk.thread(session_id, asking.name, after)
        previews = await self._desk.previews(session_id, thread.lines)
        lines: list[Json] = [line_view(thread.card, line, previews) for line in thread.lines]
        return json_answer(STATUS_OK, {**card_view(thread.card), "thread": lines})

    async def _send(self, asking: "Asking") -> Answer:
        said, key = await body_of(MessageBody, asking.receive, self._seconds), idempotency_key(asking.scope)
        session_id = asking.session.session_id
        return _written(await self._desk.send(session_id, asking.name, author=said.author, body=said.body, key=key))

    async def _title(self, asking: "Asking") -> Answer:
        said = await body_of(TitleBody, asking.receive, self._seconds)
        return _written(await self._desk.set_title(asking.session.session_id, asking.name, said.title))

    async def _archive(self, asking: "Asking") -> Answer:
        return _written(await self._desk.archive(asking.session.session_id, asking.name))

    async def _retry(self, asking: "Asking") -> Answer:
        return _written(await self._desk.try_again(asking.session.session_id, asking.name))

    async def _responders(self, asking: "Asking") -> Answer:
        listed: list[Json] = [responder_view(one, self._prices[one.name]) for one in await self._desk.responders()]
        return json_answer(STATUS_OK, {"responders": listed})

    async def _ask(self, asking: "Asking") -> Answer:
        said, key = await body_of(MessageBody, asking.receive, self._seconds), idempotency_key(asking.scope)
        main = await self._desk.main(asking.session, asking.name)
        sent = await self._desk.send(main.session_id, main.id, author=said.author, body=said.body, key=key)
        return _written(sent)

    async def _create(self, asking: "Asking") -> Answer:
        said, key = await body_of(NewCardBody, asking.receive, self._seconds), idempotency_key(asking.scope)
        card = await self._desk.create(
            asking.session,
            responder=said.responder,
            creator=said.creator,
            title=said.title,
            message=said.message,
            key=key,
        )
        return json_answer(STATUS_CREATED, card_view(card))

    async def _events(self, asking: "Asking") -> Answer:
        session_id = asking.session.session_id
        after = number_of(asked_for(asking.scope, "after"), "after")
        last = await latest(self._ledger, session_id) if after is None else after
        found = [] if after is None else await events_after(self._ledger, session_id, after)
        events: list[Json] = [{**one.to_json(), "id": one.number} for one in found]
        return json_answer(STATUS_OK, {"events": events, "last": found[-1].number if found else last})

    async def _stream(self, session_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        said = next(iter(headers.values(scope["headers"], "last-event-id")), None)
        after = number_of(said, "Last-Event-ID")
        if after is None:
            after = await latest(self._ledger, session_id)
        events = follow(
            self._ledger,
            self._bell,
            session_id,
            after,
            ended=self._streams.ended,
            lasts=lambda: self._access.lasts(scope),
        )
        await self._streams.send(session_id, events, receive, send)


def _written(card: Card) -> Answer:
    return json_answer(STATUS_OK, card_view(card))


def _wants_stream(scope: Scope) -> bool:
    return scope["method"] == "GET" and any(MEDIA_TYPE in one for one in headers.values(scope["headers"], "accept"))
