"""The API for people: parse, call one function, serialize. It decides nothing about money."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from retainer.chain.errors import ChainUnavailableError
from retainer.protocol import fields
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import LedgerError
from retainer_provider.clock import Clock
from retainer_provider.offers import Offer
from retainer_provider.people import border
from retainer_provider.people.access import Access
from retainer_provider.people.asking import Asker
from retainer_provider.people.border import Border, ClientLeftError, may, need, require_same_origin
from retainer_provider.people.events import MEDIA_TYPE, Events
from retainer_provider.people.free import FreeTier, Visitor
from retainer_provider.people.funding import ICON, Funding
from retainer_provider.people.panel import Panel
from retainer_provider.people.recovery import Recovery
from retainer_provider.people.routes import Routes, Segments
from retainer_provider.people.storefront import Storefront
from retainer_provider.people.streams import STREAM_HEAD, EventStreams
from retainer_provider.people.views import closing_view
from retainer_provider.people.visitors import known_visitor, new_visitor, set_cookie
from retainer_provider.sessions.engine import CHAIN_UNAVAILABLE, Engine
from retainer_provider.sessions.refusals import Refusal, RefusedError
from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.signers import SigningError
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer, json_answer, send_answer
from retainer_provider.wire.door import caller_of
from retainer_provider.wire.gate import LEDGER_UNAVAILABLE
from retainer_provider.wire.head import idempotency_key
from retainer_provider.wire.problems import (
    STATUS_ACCEPTED,
    STATUS_CREATED,
    STATUS_OK,
    STATUS_RECEIPT_ONLY,
    needs_challenge,
)
from retainer_provider.wire.routing import Priced
from retainer_provider.wire.stream_sending import send_stream

_log = structlog.get_logger(__name__)

_PRIVATE: Final = ("cache-control", "private, no-store")
_BEARER: Final = ("www-authenticate", "Bearer")
_ANY_ORIGIN: Final = (
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, OPTIONS"),
    ("access-control-allow-headers", "content-type"),
)
# For wallets, which are other sites' apps.
_OPEN_TO_ALL: Final = frozenset({"pay", "pay_label", "pay_options", "icon"})

Reply = Answer | MeteredStream
Handler = Callable[[Scope, Receive, Segments], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the API calls. `keys` are the service's secrets, `secure` whether browsers reach it over TLS."""

    access: Access
    asker: Asker
    border: Border
    clock: Clock
    engine: Engine
    events: Events
    free: FreeTier
    funding: Funding
    offers: Mapping[str, Offer]
    recovery: Recovery
    storefront: Storefront
    streams: EventStreams
    keys: tuple[bytes, ...]
    prefix: str
    secure: bool
    panel: Panel | None = None


class PeopleApi:
    """Serves the API's paths below the prefix, and the panel's files where nothing else is sold."""

    def __init__(self, parts: Parts, sells: Callable[[Scope], bool]) -> None:
        self._parts = parts
        self._sells = sells
        self._routes = Routes(parts.prefix)
        self._handlers: Mapping[str, Handler] = {
            "offers": self._offers,
            "open": self._open,
            "session": self._session,
            "request": self._request,
            "topup": self._top_up,
            "closing": self._closing,
            "close": self._close,
            "ask_for_token": self._ask_for_token,
            "replace_token": self._replace_token,
            "revoke_token": self._revoke_token,
            "invoice": self._invoice,
            "payer": self._payer,
            "transaction": self._transaction,
            "icon": self._icon,
            "pay_label": self._pay_label,
            "pay": self._pay,
            "pay_options": self._pay_options,
            "ask_for_sessions": self._ask_for_sessions,
            "recover": self._recover,
            "preview": self._preview,
            "ask": self._ask,
        }

    def owns(self, scope: Scope) -> bool:
        """Whether a request is this API's to answer."""
        return self._routes.find(scope) is not None or self._file(scope) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that `owns` has accepted."""
        found = self._routes.find(scope)
        if found is None:
            name = self._file(scope)
            if self._parts.panel is not None and name is not None:
                await send_answer(send, self._parts.panel.answer(name, scope), scope["method"])
            return
        name, segments = found
        try:
            if name == "events":
                answer = await self._guarded(lambda: self._events(scope, receive, send), scope)
                if answer is None:
                    return
            else:
                answer = await self._guarded(lambda: self._handle(name, scope, receive, segments), scope)
        except ClientLeftError:
            return
        if isinstance(answer, MeteredStream):
            await send_stream(send, receive, answer)
        elif answer is not None:
            if name in _OPEN_TO_ALL:
                answer = answer.with_headers(*_ANY_ORIGIN)
            await send_answer(send, answer, scope["method"])

    async def _handle(self, name: str, scope: Scope, receive: Receive, segments: Segments) -> Reply:
        if name not in _OPEN_TO_ALL and scope["method"] not in {"GET", "HEAD"}:
            require_same_origin(scope)
        return await self._handlers[name](scope, receive, segments)

    async def _guarded(self, act: Callable[[], Awaitable[Reply | None]], scope: Scope) -> Reply | None:
        try:
            return await act()
        except RefusedError as error:
            refusal = error.refusal
        except ChainUnavailableError:
            refusal = CHAIN_UNAVAILABLE
        except (LedgerError, SigningError):
            refusal = LEDGER_UNAVAILABLE
        return await self._refused(refusal, scope)

    async def _refused(self, refusal: Refusal, scope: Scope) -> Answer:
        # Any offer's challenge will do for a page, which does not answer it.
        target = Priced(next(iter(self._parts.offers.values()))) if needs_challenge(refusal.problem) else None
        answer = await self._parts.engine.refusal(refusal, target, caller_of(scope))
        return answer.with_headers(_BEARER) if refusal.problem is ProblemType.TOKEN_INVALID else answer

    def _file(self, scope: Scope) -> str | None:
        panel = self._parts.panel
        if panel is None or scope["method"] not in {"GET", "HEAD"}:
            return None
        name = panel.file(scope["path"])
        return None if name is None or self._sells(scope) else name

    async def _offers(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        return json_answer(STATUS_OK, await self._parts.storefront.page())

    async def _open(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        said = await self._parts.border.message(scope, receive)
        offer, amount = need(said, "offer", fields.filled_text), need(said, "amount", border.amount)
        payer = may(said, "payer", border.wallet)
        return _private(STATUS_CREATED, await self._parts.funding.open(offer, amount, payer, caller_of(scope)))

    async def _session(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        record = await self._parts.access.session(scope, segments["session"])
        return _private(STATUS_OK, (await self._parts.engine.view(record)).to_json())

    async def _request(self, scope: Scope, receive: Receive, segments: Segments) -> Reply:
        parts = self._parts
        record = await parts.access.session(scope, segments["session"])
        key = idempotency_key(scope)
        asked, _ = await parts.border.asked(scope, receive)
        flows = any(MEDIA_TYPE in value for value in headers.values(scope["headers"], "accept"))
        answered = await parts.asker.paid(record, asked, scope, key, flows=flows)
        if isinstance(answered, MeteredStream):
            # Whatever else the service behind says in its headers is not for the origin that this page is on.
            answered.head = Answer(STATUS_OK, STREAM_HEAD, b"")
            return answered
        after = await parts.access.session(scope, segments["session"])
        return _private(STATUS_OK, {**answered, "session": (await parts.engine.view(after)).to_json()})

    async def _top_up(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        record = await self._parts.access.session(scope, segments["session"])
        amount = need(await self._parts.border.message(scope, receive), "amount", border.amount)
        return _private(STATUS_CREATED, await self._parts.funding.top_up(record, amount, caller_of(scope)))

    async def _closing(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        record = await self._parts.access.session(scope, segments["session"])
        return _private(STATUS_OK, closing_view(record, self._parts.clock.now()))

    async def _close(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        record = await self._parts.access.session(scope, segments["session"])
        statement = await self._parts.engine.end(record)
        if statement.receipt is None:
            return _private(STATUS_ACCEPTED, statement.view.to_json()).with_headers(("retry-after", "1"))
        return _private(STATUS_OK, {**statement.view.to_json(), "receipt": statement.receipt})

    async def _ask_for_token(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        return _private(STATUS_OK, await self._parts.recovery.ask_for_token(segments["session"]))

    async def _replace_token(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        said = await self._parts.border.message(scope, receive)
        token = await self._parts.recovery.replace_token(
            segments["session"],
            need(said, "nonce", border.nonce),
            need(said, "expiresAt", fields.integer()),
            need(said, "signature", border.signature),
        )
        return _private(STATUS_CREATED, {"sessionId": segments["session"], "token": token})

    async def _revoke_token(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        await self._parts.access.revoke(scope, segments["session"])
        return Answer(STATUS_RECEIPT_ONLY, (_PRIVATE,), b"")

    async def _invoice(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        invoice = await self._parts.access.invoice(scope, segments["invoice"])
        return _private(STATUS_OK, await self._parts.funding.looked_at(invoice))

    async def _payer(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        invoice = await self._parts.access.invoice(scope, segments["invoice"])
        payer = need(await self._parts.border.message(scope, receive), "payer", border.wallet)
        return _private(STATUS_OK, await self._parts.funding.named(invoice, payer))

    async def _transaction(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        invoice = await self._parts.access.invoice(scope, segments["invoice"])
        raw = need(await self._parts.border.message(scope, receive), "transaction", border.transaction)
        shown = await self._parts.funding.taken(invoice, raw)
        return _private(STATUS_OK if shown["state"] == "active" else STATUS_ACCEPTED, shown)

    async def _icon(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        return Answer(STATUS_OK, (("content-type", "image/svg+xml"), ("cache-control", "public, max-age=86400")), ICON)

    async def _pay_label(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        await self._parts.funding.invoice(segments["invoice"])
        return json_answer(STATUS_OK, self._parts.funding.label())

    async def _pay(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        account = need(await self._parts.border.message(scope, receive), "account", border.wallet)
        try:
            return json_answer(STATUS_OK, await self._parts.funding.pay(segments["invoice"], account))
        except RefusedError as error:
            # Wallets show the member of that name, of whatever they are answered.
            told = {**error.refusal.extra, "message": error.refusal.detail}
            raise RefusedError(replace(error.refusal, extra=told)) from None

    async def _pay_options(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        return Answer(STATUS_RECEIPT_ONLY, (), b"")

    async def _ask_for_sessions(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        wallet = need(await self._parts.border.message(scope, receive), "wallet", border.wallet)
        return _private(STATUS_OK, self._parts.recovery.ask_for_sessions(wallet))

    async def _recover(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        said = await self._parts.border.message(scope, receive)
        sessions = await self._parts.recovery.sessions(
            need(said, "wallet", border.wallet),
            need(said, "nonce", border.nonce),
            need(said, "expiresAt", fields.integer()),
            need(said, "signature", border.signature),
        )
        return _private(STATUS_OK, {"sessions": sessions})

    async def _preview(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        asked, said = await self._parts.border.asked(scope, receive)
        session_id, record = may(said, "session", fields.filled_text), None
        if session_id is not None:
            record = await self._parts.access.session(scope, session_id)
        visitor, cookie = self._visitor(scope)
        told = await self._parts.free.preview(asked, scope, visitor, record)
        return _private(STATUS_OK, told).with_headers(*cookie)

    async def _ask(self, scope: Scope, receive: Receive, segments: Segments) -> Answer:
        asked, _ = await self._parts.border.asked(scope, receive)
        visitor, cookie = self._visitor(scope)
        return _private(STATUS_OK, await self._parts.free.ask(asked, scope, visitor)).with_headers(*cookie)

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = self._parts
        caller = await parts.access.caller(scope)
        start = next(iter(headers.values(scope["headers"], "last-event-id")), None)
        events = parts.events.follow(caller, start, parts.streams.ended)
        await parts.streams.send(caller.grant.session_id or caller.digest, events, receive, send)

    def _visitor(self, scope: Scope) -> tuple[Visitor, tuple[tuple[str, str], ...]]:
        """Who asks, and the cookie to send with the answer where there was none."""
        sent = "; ".join(headers.values(scope["headers"], "cookie"))
        known = known_visitor(sent, self._parts.keys)
        agent = "".join(headers.values(scope["headers"], "user-agent"))
        cookie = known or new_visitor(self._parts.keys[0], caller_of(scope), agent, self._parts.clock.now())
        given = set_cookie(cookie, path=self._parts.prefix, secure=self._parts.secure)
        return self._parts.free.visitor(scope, cookie), () if known else (("set-cookie", given),)


def _private(status: int, body: Mapping[str, Json]) -> Answer:
    return json_answer(status, body).with_headers(_PRIVATE)
