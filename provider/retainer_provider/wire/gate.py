"""The gate: ASGI in front of any ASGI app. Parse, call the engine once, serialize; it decides nothing about money."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Final, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.actions import CloseAction, OpenAction, TopUpAction, UseAction, VoucherAction
from retainer.protocol.amounts import format_amount
from retainer.protocol.constants import (
    HEADER_CREDENTIAL,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_MAX_UNITS,
    HEADER_RECEIPT,
    HEADER_SESSION,
)
from retainer.protocol.credentials import Credential
from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import LedgerError
from retainer_provider.clock import Clock
from retainer_provider.logs import REQUEST
from retainer_provider.monitoring.observer import UNOBSERVED, Observer
from retainer_provider.sessions.engine import CHAIN_UNAVAILABLE, Engine, Statement
from retainer_provider.sessions.metering import Delivery, DeliveryKind, MeteredRequest
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.sessions.vouchers import replay_key
from retainer_provider.signers import SigningError
from retainer_provider.tariffs import said_units
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer, json_answer, send_answer
from retainer_provider.wire.credentials import CredentialReader
from retainer_provider.wire.door import caller_of
from retainer_provider.wire.failures import UpstreamFailure, UpstreamUnreachableError
from retainer_provider.wire.paid import SCOPE_KEY, PaidRequest
from retainer_provider.wire.problems import STATUS_ACCEPTED, STATUS_OK, STATUS_RECEIPT_ONLY, failure_answer
from retainer_provider.wire.routing import Finder, Priced, Target, Unpriced, raw_path
from retainer_provider.wire.stream_sending import send_stream
from retainer_provider.wire.upstream import Upstream, UpstreamResult

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}\Z", re.ASCII)
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
_OURS: Final = frozenset({_PRIVATE[0], HEADER_RECEIPT.lower()})
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
        self._credentials = CredentialReader()
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
        try:
            answer = await self._answer(target, scope, receive)
        except _ClientLeftError:
            return
        offer = "" if isinstance(target, Unpriced) else target.offer.id
        if isinstance(answer, MeteredStream):
            await send_stream(send, receive, answer, _PRIVATE, _VARY, (_REQUEST_ID, number))
            self._observer.answered(offer, _STREAMED, self._clock.monotonic() - started)
            return
        self._observer.answered(offer, answer.outcome, self._clock.monotonic() - started)
        await send_answer(send, answer.with_headers((_REQUEST_ID, number)), scope["method"])

    async def _answer(self, target: Target, scope: Scope, receive: Receive) -> Answer | MeteredStream:
        if isinstance(target, Unpriced):
            return await self._engine.refusal(_UNPRICED[target], None, caller_of(scope))
        return await answer_or_refusal(
            self._engine,
            target,
            lambda: self._paid(target, self._credentials.of(scope), scope, receive),
            caller=caller_of(scope),
            hint=next(iter(headers.values(scope["headers"], HEADER_SESSION)), None),
        )

    async def _paid(
        self, target: Priced, credential: Credential | None, scope: Scope, receive: Receive
    ) -> Answer | MeteredStream:
        if credential is None:
            raise _payment_required(target)
        challenge, action = credential.challenge, credential.action
        match action:
            case OpenAction():
                return statement_answer(await self._engine.open(challenge, action, caller_of(scope)), "opened")
            case TopUpAction():
                return statement_answer(await self._engine.top_up(challenge, action), "topped_up")
            case CloseAction():
                return statement_answer(await self._engine.close(challenge, action), "closed")
            case VoucherAction() if scope["method"] == _HEAD and idempotency_key(scope) is None:
                return statement_answer(await self._engine.accept(challenge, action), "voucher_kept")
            case UseAction() | VoucherAction():
                return await self._metered(target, credential, action, scope, receive)

    async def _metered(
        self, sold: Priced, credential: Credential, action: UseAction | VoucherAction, scope: Scope, receive: Receive
    ) -> Answer | MeteredStream:
        offer, tariff = sold.offer, sold.tariff
        key = idempotency_key(scope)
        voucher = action.signed if isinstance(action, VoucherAction) else None
        if key is None and voucher is not None:
            key = replay_key(voucher)
        query: bytes = scope["query_string"]
        target = raw_path(scope) + (b"?" + query if query else b"")

        async def read() -> MeteredRequest:
            try:
                async with asyncio.timeout(self._request_seconds):
                    body = await _read_body(scope, receive, self._request_limit)
            except TimeoutError:
                raise refuse(
                    ProblemType.BODY_TOO_SLOW,
                    f"The request body did not arrive within {self._request_seconds:g} s: send it faster. "
                    "Nothing was charged.",
                ) from None
            method = scope["method"]
            return MeteredRequest(method, target.decode("latin-1"), body, key, voucher, tariff, _max_units(scope))

        async def call(request: MeteredRequest) -> UpstreamResult:
            session_id, length = str(action.channel_id), len(request.body)
            forwarded = headers.to_upstream(
                scope["headers"], session_id=session_id, body_length=length, plain=tariff.reads_bodies
            )
            paid = PaidRequest(session_id, offer.id, tariff)
            told = {**scope, "headers": forwarded, SCOPE_KEY: paid}
            return await self._upstream.call(told, request.body, stream=tariff.stream)

        delivery = await self._engine.use(credential.challenge, action, offer, read, call)
        if voucher is None:  # no voucher comes twice
            self._credentials.keep(scope, credential)
        return delivery if isinstance(delivery, MeteredStream) else delivery_answer(delivery)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        forwarded = headers.to_upstream(scope["headers"], session_id=None, body_length=None)
        try:
            await self._app({**scope, "headers": forwarded}, receive, send)
        except UpstreamUnreachableError:
            await send_answer(send, failure_answer(UpstreamFailure.UNREACHABLE), scope["method"])


Answered = TypeVar("Answered", Answer, Answer | MeteredStream)


async def answer_or_refusal(
    engine: Engine, target: Priced, act: Callable[[], Awaitable[Answered]], *, caller: str, hint: str | None = None
) -> Answered | Answer:
    """What `act` answers, or the problem that stopped it with a challenge for `target`, or for the session `hint`."""
    try:
        return await act()
    except RefusedError as error:
        refusal = error.refusal
    except ChainUnavailableError:
        refusal = CHAIN_UNAVAILABLE
    except (LedgerError, SigningError):
        refusal = LEDGER_UNAVAILABLE
    return await engine.refusal(refusal, target, caller, hint)


def statement_answer(statement: Statement, outcome: str) -> Answer:
    """The answer to a lifecycle call: the session, never the resource. Without a receipt it is still closing."""
    if statement.receipt is None:
        answer = json_answer(STATUS_ACCEPTED, statement.view.to_json()).with_headers(_PRIVATE, ("retry-after", "1"))
        return replace(answer, outcome="closing")
    receipt = (HEADER_RECEIPT.lower(), statement.receipt)
    answer = json_answer(STATUS_OK, statement.view.to_json()).with_headers(_PRIVATE, receipt)
    return replace(answer, outcome=outcome)


def delivery_answer(delivery: Delivery) -> Answer:
    """The answer to a metered request, with its receipt; a replay whose body was not kept is its receipt alone."""
    stored = delivery.answer
    # Neither of these may come from the service that is sold; its own Vary may stand beside ours.
    ours = (_PRIVATE, (HEADER_RECEIPT.lower(), stored.receipt))
    if stored.body is None:
        answer, replayed = Answer(STATUS_RECEIPT_ONLY, (_VARY, *ours), b"", str(delivery.kind)), "receipt-only"
    else:
        kept = (entry for entry in stored.headers if entry[0] not in _OURS)
        answer, replayed = Answer(stored.status, (*kept, _VARY, *ours), stored.body, str(delivery.kind)), "true"
    return answer.with_headers((_REPLAYED, replayed)) if delivery.kind is DeliveryKind.REPLAYED else answer


class _ClientLeftError(Exception):
    """The client went away before its request was complete: nothing was reserved, and nobody is left to answer."""


def _request_ids() -> Iterator[str]:
    """Ids that no other process gives: no secrets, so the operating system is asked for randomness only once."""
    process = secrets.token_hex(_REQUEST_ID_BYTES)
    return (f"{process}{number:08x}" for number in count())


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    declared = next(iter(headers.values(scope["headers"], "content-length")), "")
    body, length = bytearray(), int(declared) if declared.isdigit() else 0
    while True:
        if max(length, len(body)) > limit:
            raise refuse(
                ProblemType.BODY_TOO_LARGE,
                f"The request body exceeds {limit} bytes: send a smaller one. Nothing was charged.",
            )
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeftError
        body += message.get("body", b"")
        if not message.get("more_body", False) and len(body) <= limit:
            return bytes(body)


def idempotency_key(scope: Scope) -> str | None:
    """The request's own key, None when it has none; RefusedError for what is no key."""
    found = headers.values(scope["headers"], HEADER_IDEMPOTENCY_KEY)
    if not found:
        return None
    if len(found) > 1 or not _KEY.match(found[0]):
        raise refuse(
            ProblemType.REQUEST_MALFORMED,
            f"{HEADER_IDEMPOTENCY_KEY} must be one value of 1 to 255 visible ASCII characters: send a random one.",
        )
    return found[0]


def _max_units(scope: Scope) -> int | None:
    """The most units that the client sends the request for, where it says so."""
    found = headers.values(scope["headers"], HEADER_MAX_UNITS)
    if not found:
        return None
    units = said_units(found[0])
    if len(found) > 1 or units is None:
        raise refuse(
            ProblemType.REQUEST_MALFORMED, f"{HEADER_MAX_UNITS} must be one whole number of units: correct it."
        )
    return units


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
