"""Which session pays a request: found, taken up again, or opened; and what its answer does to the books."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakValueDictionary

import httpx

from retainer.channels.accounting import check_digest, check_receipt, enter_receipt
from retainer.channels.book import BookError
from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.errors import ClientError, PinError, ReceiptError, RefusedError, SessionError
from retainer.flows.answers import problem_of, receipt_of
from retainer.flows.offers import Offer, origin_of
from retainer.flows.opener import Opener
from retainer.flows.prices import KnownPrices
from retainer.flows.setup import Setup
from retainer.flows.streams import MeteredBody, is_stream
from retainer.flows.topper import Topper
from retainer.protocol.constants import HEADER_CREDENTIAL
from retainer.protocol.digests import request_digest
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import Receipt, parse_receipt
from retainer.protocol.session import SessionState
from retainer.trust.caps import TopUpPolicy, in_base_units
from retainer.trust.policy import require_trusted

RECEIPT_EXTENSION: Final = "retainer"
"""Where an answer's verified receipt stands among its ``extensions``."""


class Payments:
    """Sessions of one client, by what they pay for. Requests of one client that need a session share it."""

    def __init__(self, setup: Setup, opener: Opener, topper: Topper) -> None:
        self._setup = setup
        self._opener = opener
        self._topper = topper
        self._paying: dict[str, ChannelScope] = {}
        self.prices = KnownPrices()
        self._in_hand: Counter[str] = Counter()
        self._cut_off: dict[str, tuple[Channel, httpx.Request]] = {}
        self._topping_up = asyncio.Lock()
        # Weak: scopes are named by services, and one that names a new one each time must not fill the memory.
        self._opening: WeakValueDictionary[ChannelScope, asyncio.Lock] = WeakValueDictionary()

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        await self._setup.timer.sleep(seconds)

    async def expected(self, url: httpx.URL) -> Channel | None:
        """The live session that paid this host last: a guess that spares the first 402."""
        scope = self._paying.get(origin_of(url))
        channel = await self._setup.store.get(scope) if scope else None
        return channel if channel is not None and channel.state is SessionState.ACTIVE else None

    async def named(self, session_id: str, url: httpx.URL) -> Channel:
        """The session that the caller chose; SessionError when it cannot pay, PinError where it must not be shown."""
        channel = await self._setup.channel(session_id)
        if not channel.pays_at(url):
            raise PinError(f"session {session_id} pays at {channel.scope.origin} only, not at {origin_of(url)}")
        if channel.dispute is not None:
            raise SessionError(f"session {session_id} is in dispute: {channel.dispute}. Close it", session_id)
        if not channel.usable:
            raise SessionError(f"session {session_id} is {channel.state}; open another one", session_id)
        return await self._live(channel)

    async def fitting(self, offers: list[Offer]) -> Channel:
        """A session for one of the offers: one that is open, else a new one for the first that may be paid."""
        for offer in offers:
            async with self._alone(offer.scope):
                channel = await self._agreeing(offer)
                if channel is not None:
                    return self.remember(await self._live(channel))
        offer = self.acceptable(offers)
        # Requests that meet the same challenge at once wait here, and all but the first find the session open.
        async with self._alone(offer.scope):
            channel = await self._agreeing(offer)
            opened = await (self._opener.open(offer, None, sole=True) if channel is None else self._live(channel))
            return self.remember(opened)

    async def _agreeing(self, offer: Offer) -> Channel | None:
        """The session that pays for the offer's scope, if it was opened on just the terms that are asked for now."""
        channel = await self._setup.store.get(self._setup.scope(offer))
        return channel if channel is not None and channel.offer.agrees_with(offer) else None

    async def replacing(self, stale: Channel, offers: list[Offer], *, dispute: str | None) -> Channel:
        """Retire a session that can never pay again, and return the one that pays instead.

        ``dispute`` says why its own service will not settle it as this client has it, where that is so.
        """
        await self._setup.update(
            stale.session_id,
            lambda kept: kept.disputed(dispute) if dispute else kept.closing() if kept.usable else kept,
        )
        return await self.fitting(offers)

    @contextmanager
    def holding(self, key: str) -> Iterator[None]:
        """While this lasts, somebody waits for the answer to this Idempotency-Key."""
        self._in_hand[key] += 1
        try:
            yield
        finally:
            self._in_hand[key] -= 1
            self._in_hand += Counter()  # drops what has come down to zero

    def lost(self, channel: Channel, request: httpx.Request) -> str | None:
        """The key under which this same request left before and was never answered, perhaps by an earlier process."""
        return channel.book.lost(_digest(request).hex(), self._in_hand)

    @property
    def tops_up(self) -> bool:
        """Whether sessions get more by themselves."""
        return self._setup.topping_up is not None

    async def _fund(self, channel: Channel, units: int) -> None:
        """Put more into the session where the caller's policy asks for that.

        While it can pay ``units``, one more request, a top-up that is not possible is no reason not to send that.
        """
        policy = self._setup.topping_up
        if policy is None or not self._short(channel, policy, units):
            return
        async with self._topping_up:
            channel = await self._setup.channel(channel.session_id)
            if not self._short(channel, policy, units):
                return
            try:
                await self._topper.top_up(channel.session_id, policy.amount)
            except (RefusedError, SessionError):
                # Another process may have topped the same session up meanwhile, and even have spent it already.
                newest = await self._setup.channel(channel.session_id)
                if newest.deposit == channel.deposit and newest.free < units * newest.price:
                    raise

    @staticmethod
    def _short(channel: Channel, policy: TopUpPolicy, units: int) -> bool:
        below = in_base_units(policy.below, channel.offer.request.decimals)
        return channel.state is SessionState.ACTIVE and channel.free < max(below, units * channel.price)

    async def funded(
        self, channel: Channel, key: str, request: httpx.Request, lost: str | None = None
    ) -> tuple[Channel, str]:
        """As `sent`, after topping up by the caller's policy for as long as the deposit does not cover the request.

        Whether it does is decided in the write that notes it, so however many requests come at once, none leaves that
        those before it have left nothing for.
        """
        while True:
            if self.tops_up and not {key, lost} & channel.book.outstanding.keys():
                await self._fund(channel, self.prices.units(request))
            try:
                return await self.sent(channel, key, request, lost, covered=self.tops_up)
            except _UncoveredError:
                channel = await self._setup.channel(channel.session_id)

    async def sent(
        self, channel: Channel, key: str, request: httpx.Request, lost: str | None = None, *, covered: bool = False
    ) -> tuple[Channel, str]:
        """Note a request before it leaves, under ``lost`` while that is unanswered, else ``key``; returns which.

        The session comes back with what pays the request: a voucher is signed and kept in the same write. When it has
        to be ``covered`` by what is free, and is not, nothing is noted.
        """
        digest, units = _digest(request).hex(), self.prices.units(request)
        self._setup.caps.require_price(units * channel.price, channel.offer.request.decimals)

        def note(kept: Channel) -> Channel:
            chosen = lost if lost is not None and lost in kept.book.outstanding else key
            new, live = chosen not in kept.book.outstanding, kept.state is SessionState.ACTIVE
            if covered and new and live and kept.free < units * kept.price:
                raise _UncoveredError
            return self._setup.authorized(kept.with_book(kept.book.sent(chosen, digest, units)))

        noted = await self._setup.update(channel.session_id, note)
        return noted, lost if lost is not None and key not in noted.book.outstanding else key

    async def outbid(self, channel: Channel) -> bool:
        """Whether a later voucher than this one has been signed: the service may have seen that one first."""
        return (await self._setup.channel(channel.session_id)).signed > channel.signed

    async def answered(self, channel: Channel, key: str, response: httpx.Response) -> Receipt | None:
        """Enter what an answer says about money, and return its receipt.

        ReceiptError when it cannot be right; the session is then in dispute, and nothing more is spent from it.
        """
        try:
            receipt = receipt_of(response)
            if receipt is None:
                await self._unreceipted(channel, key, response)
            elif _comes_last(channel, receipt, response):
                check_receipt(channel, receipt)
            else:
                digest = _digest(response.request)
                await self._setup.update(
                    channel.session_id, lambda kept: enter_receipt(kept, receipt, key=key, digest=digest)
                )
        except (BookError, MessageError) as error:
            raise await self.dispute(channel, str(error), response) from None
        return receipt

    async def streaming(self, channel: Channel, key: str, response: httpx.Response, receipt: Receipt) -> bool:
        """Whether the answer is a stream, whose own receipt comes last; it is then entered as it arrives."""
        if not _comes_last(channel, receipt, response):
            return False

        async def ended(text: str | None, digest: bytes) -> None:
            await self._streamed(channel, key, response, text, digest)

        # What was asked is being answered: the same request again is another one.
        await self._setup.update(channel.session_id, lambda kept: kept.with_book(kept.book.sent(key)))
        body = MeteredBody(response.stream, ended)
        if response.is_stream_consumed:  # by a transport that reads answers whole
            await body.take_whole(response.content)
        response.stream = body
        return True

    async def _streamed(
        self, channel: Channel, key: str, response: httpx.Response, text: str | None, digest: bytes
    ) -> None:
        """Enter the receipt of a stream, or remember that it must be asked for."""
        if text is None:
            self._cut_off[key] = channel, response.request
            return
        try:
            receipt = parse_receipt(text)
            check_digest(receipt, digest)
            request = _digest(response.request)
            await self._setup.update(
                channel.session_id, lambda kept: enter_receipt(kept, receipt, key=key, digest=request)
            )
        except (BookError, MessageError) as error:
            raise await self.dispute(channel, str(error), response, read=False) from None
        response.extensions[RECEIPT_EXTENSION] = receipt

    def cut_off(self, channel: Channel | None) -> Iterator[tuple[httpx.Request, str]]:
        """Requests of this session that ask again for the receipts of streams that were not read to their end.

        Each is asked once. Where it does not help, the books go on counting the stream with all that it may cost.
        """
        for key, (paid_by, request) in [*self._cut_off.items()]:
            if channel is not None and paid_by.session_id == channel.session_id and key in self._cut_off:
                del self._cut_off[key]
                headers = request.headers.copy()
                headers[HEADER_CREDENTIAL] = channel.pay_header()
                yield httpx.Request(request.method, request.url, headers=headers, content=request.content), key

    async def dispute(
        self, channel: Channel, fault: str, response: httpx.Response, *, read: bool = True
    ) -> ReceiptError:
        """Stop spending from the session; the error to raise, with the answer (read, if not already) kept in it."""
        reason = f"a receipt of session {channel.session_id} cannot be right: {fault}"
        await self._setup.update(channel.session_id, lambda kept: kept.disputed(reason))
        if read:
            await response.aread()
        return ReceiptError(f"{reason}. Nothing more is spent from it; close it", channel.session_id, response)

    async def _unreceipted(self, channel: Channel, key: str, response: httpx.Response) -> None:
        if response.is_error:
            await response.aread()
        problem = problem_of(response)
        if problem is None:
            return
        if problem.type is ProblemType.IDEMPOTENCY_CONFLICT:
            # The key stands for another request there: a later request must not be asked under it.
            await self._setup.update(channel.session_id, lambda kept: kept.with_book(kept.book.sent(key)))
        elif problem.type is not ProblemType.REQUEST_IN_FLIGHT:
            await self._setup.update(channel.session_id, lambda kept: kept.with_book(kept.book.refused(key)))

    def _alone(self, scope: ChannelScope) -> asyncio.Lock:
        return self._opening.setdefault(scope, asyncio.Lock())

    async def _live(self, channel: Channel) -> Channel:
        return await self._opener.confirm(channel) if channel.state is SessionState.PENDING else channel

    def remember(self, channel: Channel) -> Channel:
        """Expect this session to pay its host from now on."""
        self._paying[channel.scope.origin] = channel.scope
        return channel

    def acceptable(self, offers: list[Offer]) -> Offer:
        """The first offer that the caller's rules allow; where they allow none, the refusal of the first."""
        refusals = []
        for offer in offers:
            try:
                setup = self._setup
                key = setup.signer_for(setup.scope(offer)).pubkey()
                require_trusted(
                    offer, payer=setup.payer, voucher_key=key, pins=setup.pins, caps=setup.caps, now=setup.now()
                )
            except ClientError as refusal:
                refusals.append(refusal)
            else:
                return offer
        raise refusals[0]


class _UncoveredError(Exception):
    """Requests at once have reserved what was left in the session."""


def _comes_last(channel: Channel, receipt: Receipt, response: httpx.Response) -> bool:
    """Whether this receipt is the one at the beginning of a stream, which says nothing about the request yet."""
    metered = receipt.retainer.metered if receipt.retainer else None
    return channel.offer.request.retainer is not None and metered is None and is_stream(response)


def _digest(request: httpx.Request) -> bytes:
    return request_digest(request.method, request.url.raw_path.decode("ascii"), request.content)
