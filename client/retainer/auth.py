"""Paying 402s under httpx: the state machine of `flow`, run over the requests and answers of one exchange."""

import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from typing import Never

import httpx

from retainer.channels.channel import Channel
from retainer.errors import ClientError
from retainer.flows.answers import pause_asked, problem_of
from retainer.flows.flow import Exchange, Next, Reply, decide
from retainer.flows.offers import Offer, origin_of, read_offers
from retainer.flows.payments import Payments, RetiredError
from retainer.flows.witness import Witness
from retainer.protocol.constants import HEADER_CREDENTIAL, HEADER_IDEMPOTENCY_KEY, HEADER_MAX_UNITS, HEADER_SESSION
from retainer.protocol.problems import Problem, ProblemType
from retainer.protocol.vouchers import SignedVoucher

_KEY_BYTES = 16
_READ_AT_ONCE = frozenset({HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.CONFLICT})


def new_key() -> str:
    """An Idempotency-Key that nobody chose before."""
    return secrets.token_hex(_KEY_BYTES)


class SessionAuth(httpx.Auth):
    """Pays for the requests of an ``httpx.AsyncClient``; get one from ``SessionClient.auth``.

    Each request leaves with an Idempotency-Key, its own or a fresh one, and keeps it through every retry. The key is
    stored before the request leaves: the same request (method, target, body) asked again without a key of its own,
    also by a later process, takes over the key whose answer was lost, so that it is charged once. The verified
    receipt stands in ``response.extensions["retainer"]``; only ``SessionClient.request``, which reads the whole answer,
    can also hold it against the body. Leave redirects off: a redirect is an answer that was paid
    for, and following it is another request, which needs a key of its own.
    """

    requires_request_body = True

    def __init__(
        self, payments: Payments, witness: Witness, session_id: str | None = None, hand: ExitStack | None = None
    ) -> None:
        """``hand`` has the keys that are waited for when the caller tries again; by default one try has them."""
        self._hand = hand
        self._payments = payments
        self._witness = witness
        self._session_id = session_id
        self.paid = False
        """Whether a request has left that carried a session's proof."""

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, Never]:
        """Not offered: opening a session waits for the chain, which is asynchronous here."""
        raise ClientError("this pays for httpx.AsyncClient; for httpx.Client take the auth of a SyncSessionClient")
        yield request  # type: ignore[unreachable]  # what makes it a generator, as httpx asks

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send, pay what is asked within the caller's rules, and enter the receipt."""
        fresh = HEADER_IDEMPOTENCY_KEY not in request.headers
        key = request.headers.setdefault(HEADER_IDEMPOTENCY_KEY, new_key())
        exchange = Exchange(pinned=self._session_id is not None, may_fund=self._payments.tops_up)
        fund, may_retire = fresh, self._session_id is None
        with ExitStack() as own:
            hand = self._hand or own
            hand.enter_context(self._payments.holding(key))
            channel = await self._first(request.url)
            while channel is not None and (cut := self._payments.cut_off(channel)) is not None:
                # The receipt of a stream that its caller left before its end: asked again, it is all that comes.
                response = yield cut.request
                await self._payments.answered(channel, cut.key, response)
            while True:
                repeated = False
                if channel is not None:
                    exchange = replace(exchange, paid=True)
                    before = channel.book.outstanding
                    try:
                        channel, key = await self._noted(
                            channel, request, hand, fresh=fresh, fund=fund, may_retire=may_retire
                        )
                    except RetiredError:
                        # Another session is to pay, once; what it has to agree to, an unpaid request brings.
                        channel, may_retire = None, False
                        exchange = Exchange(may_replace=False)
                        request.headers.pop(HEADER_CREDENTIAL, None)
                        request.headers.pop(HEADER_SESSION, None)
                        continue
                    fresh, repeated = False, key in before
                    self.paid = True
                sent = self._witness.clock()
                response = yield request
                if response.status_code in _READ_AT_ONCE:
                    await response.aread()
                # An answer from another host, after a redirect, is shown to the caller and believed in nothing.
                if origin_of(response.request.url) != origin_of(request.url):
                    return
                if channel is not None:
                    self._witness.watch(response, channel.session_id, sent=sent, repeated=repeated)
                    await self._payments.answered(channel, key, response)
                offers = self._offers(request, response)
                reply = await self._reply(response, offers, channel)
                exchange, step = decide(exchange, reply)
                if step is Next.DELIVER:
                    return
                fund = fund or step is Next.FUND
                if step is Next.WAIT:
                    await self._payments.pause(pause_asked(response))
                channel = await self._next(step, exchange, channel, reply, offers)

    def _offers(self, request: httpx.Request, response: httpx.Response) -> list[Offer]:
        """What the answer asks for, if it is a 402; what the route may cost is remembered."""
        offers = read_offers(response) if response.status_code == HTTPStatus.PAYMENT_REQUIRED else []
        self._payments.prices.learn(request, offers)
        return offers

    async def _next(
        self, step: Next, exchange: Exchange, channel: Channel | None, reply: Reply, offers: list[Offer]
    ) -> Channel | None:
        """The session that pays the next try."""
        match step:
            case Next.WAIT | Next.OUTBID | Next.FUND | Next.RAISE:
                return channel
            case Next.REPLACE if channel is not None:
                return await self._payments.replacing(channel, offers, dispute=_dispute(reply))
        return await self._payments.fitting(offers, succeeding=not exchange.may_replace)

    async def _noted(
        self,
        channel: Channel,
        request: httpx.Request,
        hand: ExitStack,
        *,
        fresh: bool,
        fund: bool,
        may_retire: bool,
    ) -> tuple[Channel, str]:
        """What pays the request, and the key that it now leaves under; a ``fresh`` one gives way to a lost answer's.

        The session is topped up first where ``fund`` says so. A key of the caller's may have been answered already, and
        what is replayed costs nothing: it is asked once before money moves for it.
        """
        lost = self._payments.lost(channel, request, hand) if fresh else None
        key = request.headers[HEADER_IDEMPOTENCY_KEY]
        if fund:
            channel, key = await self._payments.funded(channel, key, request, lost, may_retire=may_retire)
        else:
            channel, key = await self._payments.sent(channel, key, request, lost)
        request.headers[HEADER_IDEMPOTENCY_KEY] = key
        request.headers[HEADER_CREDENTIAL] = channel.pay_header()
        request.headers[HEADER_MAX_UNITS] = str(channel.book.units.get(key, 1))
        # Only ever the session at hand: others are taken up again after the first 402.
        request.headers[HEADER_SESSION] = channel.session_id
        return channel, key

    async def _first(self, url: httpx.URL) -> Channel | None:
        if self._session_id is not None:
            return await self._payments.named(self._session_id, url)
        return await self._payments.expected(url)

    async def _reply(self, response: httpx.Response, offers: list[Offer], channel: Channel | None) -> Reply:
        problem = problem_of(response) if response.status_code in _READ_AT_ONCE else None
        refused = problem is not None and problem.type is ProblemType.VERIFICATION_FAILED
        paid_by_voucher = channel is not None and isinstance(channel.authority, SignedVoucher)
        outbid = refused and paid_by_voucher and channel is not None and await self._payments.outbid(channel)
        return Reply(
            status=response.status_code,
            problem=problem.type if problem else None,
            challenged=bool(offers),
            same_scope=channel is None or any(offer.scope == channel.offer.scope for offer in offers),
            outbid=outbid,
            overdrawn=refused
            and paid_by_voucher
            and not outbid
            and _claimed(problem) > (channel.signed if channel else 0),
        )


def _claimed(problem: Problem | None) -> int:
    """Up to what the service says that it holds a voucher of the session."""
    told = problem.extra.get("acceptedCumulative") if problem else None
    return int(told) if isinstance(told, str) and told.isascii() and told.isdigit() else 0


def _dispute(reply: Reply) -> str | None:
    if reply.overdrawn:
        return (
            "the service holds a higher voucher than this client's records know of (an older copy of them?); "
            "get back what is not spent with request_close and withdraw"
        )
    if reply.problem is ProblemType.SESSION_UNKNOWN:
        return "the service does not know it any more; get its deposit back with request_close and withdraw"
    return None
