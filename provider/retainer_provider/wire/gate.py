"""The gate: ASGI in front of any ASGI app. Parse, call the engine once, serialize; it decides nothing about money."""

import asyncio
import secrets
from collections.abc import Iterator
from itertools import count
from typing import Final, NamedTuple

from msgspec.structs import replace
from starlette.types import ASGIApp, Receive, Scope, Send

from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.actions import CloseAction, OpenAction, TopUpAction, UseAction, VoucherAction
from retainer.protocol.amounts import format_amount
from retainer.protocol.challenges import Challenge
from retainer.protocol.constants import HEADER_CREDENTIAL, HEADER_RECEIPT
from retainer.protocol.problems import ProblemType
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.ledger import LedgerError
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.logs import REQUEST
from retainer_provider.monitoring.observer import UNOBSERVED, Observer
from retainer_provider.sessions.engine import CHAIN_UNAVAILABLE, Engine, Statement
from retainer_provider.sessions.metering import Delivery, DeliveryKind, MeteredRequest
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.sessions.vouchers import replay_key
from retainer_provider.signers import SigningError
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer, json_answer, send_answer
from retainer_provider.wire.credentials import Bearers, parsed
from retainer_provider.wire.door import caller_of
from retainer_provider.wire.failures import UpstreamFailure, UpstreamUnreachableError
from retainer_provider.wire.head import Head
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest
from retainer_provider.wire.problems import STATUS_ACCEPTED, STATUS_OK, STATUS_RECEIPT_ONLY, failure_answer
from retainer_provider.wire.routing import Finder, Priced, Unpriced, raw_path
from retainer_provider.wire.stream_sending import send_stream
from retainer_provider.wire.upstream import Upstream, UpstreamResult

# Without a key it is the draft's update of a voucher; with one, a HEAD of the service like any other request.
_HEAD: Final = "HEAD"
_REQUEST_ID: Final = "x-request-id"
_REQUEST_ID_BYTES: Final = 8
_PASSED_ON: Final = "passed_on"
_STREAMED: Final = "streamed"
_REPLAYED: Final = "idempotent-replayed"
# What was paid for is for its payer alone; a shared cache would give it to everybody (F22).
_PRIVATE: Final = ("cache-control", "private, no-store")
_VARY: Final = ("vary", HEADER_CREDENTIAL)
_RECEIPT: Final = HEADER_RECEIPT.lower()
_OURS: Final = frozenset({_PRIVATE[0], _RECEIPT})
_WEBSOCKET_POLICY_VIOLATION: Final = 1008

LEDGER_UNAVAILABLE: Final = Refusal(
    ProblemType.SERVICE_UNAVAILABLE,
    "This service cannot write its books at the moment, so it serves nothing and charges nothing: try again later.",
    retry_after=30,
)


class RetainerGate:
    """Meters the requests that `find` prices, passes on those that are free, and refuses the rest."""

    def __init__(
        self,
        app: ASGIApp,
        engine: Engine,
        find: Finder,
        *,
        upstream: Upstream,
        request_limit: int,
        request_seconds: float,
        clock: Clock,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._app = app
        self._engine = engine
        self._find = find
        self._upstream = upstream
        self._request_limit = request_limit
        self._request_seconds = request_seconds
        self._clock = clock
        self._observer = observer
        self._bearers = Bearers()
        self._numbers = _request_ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection. Websockets cannot be metered and are refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _WEBSOCKET_POLICY_VIOLATION})
            return
        # Ours, never the client's, whose text has no business in our logs.
        number = next(self._numbers)
        told = REQUEST.set(number)
        try:
            await self._http(scope, receive, send, number)
        finally:
            REQUEST.reset(told)

    async def _http(self, scope: Scope, receive: Receive, send: Send, number: str) -> None:
        started, target = self._clock.monotonic(), self._find(scope)
        if target is Unpriced.FREE:
            await self._pass(scope, receive, send)
            self._observer.answered("", _PASSED_ON, self._clock.monotonic() - started)
            return
        offer = ""
        try:
            if isinstance(target, Unpriced):
                answer: Answer | MeteredStream = await self._engine.refusal(_UNPRICED[target], None, caller_of(scope))
            else:
                offer, answer = target.offer.id, await self._answer(_Asked(target, Head(scope), scope, receive))
        except _ClientLeftError:
            return
        if isinstance(answer, MeteredStream):
            await send_stream(send, receive, answer, _PRIVATE, _VARY, (_REQUEST_ID, number))
            self._observer.answered(offer, _STREAMED, self._clock.monotonic() - started)
            return
        self._observer.answered(offer, answer.outcome, self._clock.monotonic() - started)
        await send_answer(send, answer, scope["method"], (_REQUEST_ID, number))

    async def _answer(self, asked: "_Asked") -> Answer | MeteredStream:
        try:
            return await self._paid(asked)
        except REFUSING as error:
            caller, hint = caller_of(asked.scope), asked.head.session()
            return await self._engine.refusal(refusal_for(error), asked.sold, caller, hint)

    async def _paid(self, asked: "_Asked") -> Answer | MeteredStream:
        header = asked.head.payment()
        if header is None:
            raise _payment_required(asked.sold)
        known = self._bearers.session_of(header)
        if known is not None:
            return await self._metered(asked, known, None)
        credential = parsed(header)
        action, voucher = credential.action, None
        match action:
            case UseAction():
                pass
            case VoucherAction() if asked.scope["method"] != _HEAD or asked.head.key() is not None:
                voucher = action.signed
            case _:
                return await self._stated(credential.challenge, action, caller_of(asked.scope))
        record = await self._engine.payable(credential.challenge, action)
        answer = await self._metered(asked, record, voucher)
        if voucher is None:  # no voucher comes twice
            self._bearers.keep(header, record)
        return answer

    async def _stated(
        self, challenge: Challenge, action: OpenAction | TopUpAction | CloseAction | VoucherAction, caller: str
    ) -> Answer:
        match action:
            case OpenAction():
                return statement_answer(await self._engine.open(challenge, action, caller), "opened")
            case TopUpAction():
                return statement_answer(await self._engine.top_up(challenge, action), "topped_up")
            case CloseAction():
                return statement_answer(await self._engine.close(challenge, action), "closed")
            case VoucherAction():
                return statement_answer(await self._engine.accept(challenge, action), "voucher_kept")

    async def _metered(
        self, asked: "_Asked", record: SessionRecord, voucher: SignedVoucher | None
    ) -> Answer | MeteredStream:
        scope, head = asked.scope, asked.head
        offer, tariff = asked.sold.offer, asked.sold.tariff
        key = head.key()
        if key is None and voucher is not None:
            key = replay_key(voucher)
        path, query = raw_path(scope), scope["query_string"]
        target = (path + b"?" + query if query else path).decode("latin-1")

        async def read() -> MeteredRequest:
            body = await self._body(asked)
            return MeteredRequest(scope["method"], target, body, key, voucher, tariff, head.max_units())

        async def call(request: MeteredRequest) -> UpstreamResult:
            told = headers.told_upstream(
                scope, session_id=record.session_id, body_length=len(request.body), plain=tariff.reads_bodies
            )
            told[SCOPE_KEY] = PaidRequest(record.session_id, offer.id, tariff)
            return await self._upstream.call(told, request.body, stream=tariff.stream)

        delivery = await self._engine.serve(record, offer, read, call)
        return delivery if isinstance(delivery, MeteredStream) else delivery_answer(delivery)

    async def _body(self, asked: "_Asked") -> bytes:
        head, receive = asked.head, asked.receive
        if head.bodiless:  # the server has all of it, so that a timer would be for nothing
            return await _read_body(0, receive, self._request_limit)
        try:
            async with asyncio.timeout(self._request_seconds):
                return await _read_body(head.length(), receive, self._request_limit)
        except TimeoutError:
            raise refuse(
                ProblemType.BODY_TOO_SLOW,
                f"The request body did not arrive within {self._request_seconds:g} s: send it faster. "
                "Nothing was charged.",
            ) from None

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(headers.told_upstream(scope, session_id=None, body_length=None), receive, send)
        except UpstreamUnreachableError:
            await send_answer(send, failure_answer(UpstreamFailure.UNREACHABLE), scope["method"])


class _Asked(NamedTuple):
    """One request to a priced path."""

    sold: Priced
    head: Head
    scope: Scope
    receive: Receive


REFUSING: Final = (RefusedError, ChainUnavailableError, LedgerError, SigningError)
"""What stops a request that is then answered with a refusal."""


def refusal_for(error: Exception) -> Refusal:
    """What to tell whoever sent a request that was stopped by one of `REFUSING`."""
    if isinstance(error, RefusedError):
        return error.refusal
    return CHAIN_UNAVAILABLE if isinstance(error, ChainUnavailableError) else LEDGER_UNAVAILABLE


def statement_answer(statement: Statement, outcome: str) -> Answer:
    """The answer to a lifecycle call: the session, never the resource. Without a receipt it is still closing."""
    if statement.receipt is None:
        answer = json_answer(STATUS_ACCEPTED, statement.view.to_json()).with_headers(_PRIVATE, ("retry-after", "1"))
        return replace(answer, outcome="closing")
    receipt = (_RECEIPT, statement.receipt)
    answer = json_answer(STATUS_OK, statement.view.to_json()).with_headers(_PRIVATE, receipt)
    return replace(answer, outcome=outcome)


def delivery_answer(delivery: Delivery) -> Answer:
    """The answer to a metered request, with its receipt; a replay whose body was not kept is its receipt alone."""
    stored, kind = delivery.answer, delivery.kind
    # Neither of these may come from the service that is sold; its own Vary may stand beside ours.
    ours = (_VARY, _PRIVATE, (_RECEIPT, stored.receipt))
    if stored.body is None:
        answer, replayed = Answer(STATUS_RECEIPT_ONLY, ours, b"", kind.value), "receipt-only"
    else:
        kept = [entry for entry in stored.headers if entry[0] not in _OURS]
        answer, replayed = Answer(stored.status, (*kept, *ours), stored.body, kind.value), "true"
    return answer.with_headers((_REPLAYED, replayed)) if kind is DeliveryKind.REPLAYED else answer


class _ClientLeftError(Exception):
    """The client went away before its request was complete: nothing was reserved, and nobody is left to answer."""


def _request_ids() -> Iterator[str]:
    """Ids that no other process gives: no secrets, so the operating system is asked for randomness only once."""
    process = secrets.token_hex(_REQUEST_ID_BYTES)
    return (f"{process}{number:08x}" for number in count())


async def _read_body(length: int, receive: Receive, limit: int) -> bytes:
    pieces, size = [], 0
    while max(length, size) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeftError
        piece: bytes = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        if not message.get("more_body", False) and size <= limit:
            return b"".join(pieces)
    raise refuse(
        ProblemType.BODY_TOO_LARGE,
        f"The request body exceeds {limit} bytes: send a smaller one. Nothing was charged.",
    )


def _payment_required(target: Priced) -> RefusedError:
    offer, units = target.offer, target.tariff.max_units
    price, suggested, least = (
        format_amount(units, offer.decimals)
        for units in (offer.price * units, offer.suggested_deposit, offer.minimum_deposit)
    )
    held = "" if offer.anchor_on_chain else " There is no escrow: the provider holds the money."
    by_use = "up to " if target.tariff.count else ""
    return refuse(
        ProblemType.PAYMENT_REQUIRED,
        f"A request costs {by_use}{price} tokens: open a session with a deposit of {suggested} (at least {least}) and "
        f"repeat the request with it.{held}",
    )


_UNPRICED: Final = {
    Unpriced.UNKNOWN: Refusal(
        ProblemType.ROUTE_UNKNOWN, "Nothing is served at this path: see the routes of this service's offers."
    ),
    Unpriced.AMBIGUOUS: Refusal(
        ProblemType.REQUEST_MALFORMED,
        "This path can be read in more than one way: send it without dot segments, double slashes or needless escapes.",
    ),
}
