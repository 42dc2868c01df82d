"""Which session pays a request: found, taken up again, or opened; and what its answer does to the books."""

import asyncio
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from weakref import WeakValueDictionary

import httpx

from retainer.channels.accounting import check_digest, check_receipt, enter_receipt
from retainer.channels.book import BookError
from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.errors import (
    CapError,
    ClientError,
    PinError,
    ReceiptError,
    RefusedError,
    SessionError,
    TopUpRefusedError,
    TopUpUnconfirmedError,
)
from retainer.flows.answers import RECEIPT_EXTENSION, problem_of, receipt_of
from retainer.flows.closer import Closer
from retainer.flows.in_hand import InHand
from retainer.flows.offers import Offer, origin_of
from retainer.flows.opener import Opener
from retainer.flows.prices import KnownPrices
from retainer.flows.setup import Setup
from retainer.flows.streams import MeteredBody, is_metered, is_stream
from retainer.flows.topper import Topper
from retainer.protocol.constants import HEADER_CREDENTIAL
from retainer.protocol.digests import request_digest
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import Receipt, parse_receipt
from retainer.protocol.session import SessionState
from retainer.trust.caps import Amount, TopUpPolicy, in_base_units
from retainer.trust.policy import require_custody, require_trusted


@dataclass(frozen=True, slots=True)
class CutOff:
    """A request whose answer was a stream, and whose receipt has not come; sent again, it gets that alone."""

    session_id: str
    key: str
    request: httpx.Request


class Payments:
    """Sessions of one client, by what they pay for. Requests of one client that need a session share it."""

    def __init__(self, setup: Setup, opener: Opener, topper: Topper, closer: Closer) -> None:
        self._setup = setup
        self._opener = opener
        self._topper = topper
        self._closer = closer
        self._paying: dict[str, ChannelScope] = {}
        self.prices = KnownPrices()
        self._in_hand = InHand(setup.store)
        self._cut_off: dict[str, CutOff] = {}
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

    async def fitting(self, offers: list[Offer], *, succeeding: bool = False) -> Channel:
        """A session for one of the offers: one that is open, else a new one for the first that may be paid.

        ``succeeding``: it takes the place of one that pays no more, and may hold what that would have been topped up by
        where the caller has said nothing about deposits.
        """
        for offer in offers:
            async with self._alone(offer.scope):
                channel = await self._agreeing(offer)
                if channel is not None:
                    return self.remember(await self._live(channel))
        offer = self.acceptable(offers)
        # Requests that meet the same challenge at once wait here, and all but the first find the session open.
        async with self._alone(offer.scope):
            channel = await self._agreeing(offer)
            deposit = self._inherited if succeeding else None
            opened = await (self._opener.open(offer, deposit, sole=True) if channel is None else self._live(channel))
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
        return await self.fitting(offers, succeeding=True)

    @property
    def _inherited(self) -> Amount | None:
        setup = self._setup
        said = setup.deposit is not None or setup.caps.per_session is not None
        return None if said or setup.topping_up is None else setup.topping_up.amount

    def holding(self, key: str) -> AbstractContextManager[bool]:
        """While this lasts, somebody waits for the answer to this Idempotency-Key."""
        return self._in_hand.hold(key)

    def lost(self, channel: Channel, request: httpx.Request, hand: ExitStack) -> str | None:
        """The key under which this same request left before and was never answered, from now on in ``hand``."""
        return self._in_hand.take_over(channel.book, _digest(request).hex(), hand)

    @property
    def tops_up(self) -> bool:
        """Whether sessions get more by themselves."""
        return self._setup.topping_up is not None

    async def _fund(self, channel: Channel, units: int, *, may_retire: bool) -> None:
        """Put more into the session where the caller's policy asks for that.

        While it can pay ``units``, one more request, a top-up that is not possible is no reason not to send that.
        Afterwards it is closed, and RetiredError raised, if it ``may_retire``. The refund comes before another deposit:
        a service that does not settle gets none.
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
            except (RefusedError, SessionError) as refusal:
                # Another process may have topped the same session up meanwhile, and even have spent it already; or its
                # top-up is on chain, where it counts against the caps, and not yet in the store.
                newest = await self._setup.channel(channel.session_id)
                landing = newest.top_up is not None and isinstance(refusal, CapError)
                if landing or newest.deposit != channel.deposit or newest.free >= units * newest.price:
                    return
                if not may_retire or not _is_final(refusal):
                    raise
                # While others wait to top up: they find it closing, and sign nothing more for it.
                await self._closer.close(channel.session_id)
                raise RetiredError from refusal

    @staticmethod
    def _short(channel: Channel, policy: TopUpPolicy, units: int) -> bool:
        below = in_base_units(policy.below, channel.offer.request.decimals)
        return channel.state is SessionState.ACTIVE and channel.free < max(below, units * channel.price)

    async def funded(
        self, channel: Channel, key: str, request: httpx.Request, lost: str | None = None, *, may_retire: bool = False
    ) -> tuple[Channel, str]:
        """As `sent`, after topping up by the caller's policy for as long as the deposit does not cover the request.

        RetiredError: it does not, and takes no top-up; it is closed, as ``may_retire`` allowed. Whether it does is
        decided in the write that notes it, so however many requests come at once, none leaves that those before it
        have left nothing for.
        """
        while True:
            if self.tops_up and not {key, lost} & channel.book.outstanding.keys():
                await self._fund(channel, self.prices.units(request), may_retire=may_retire)
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

    async def answered(self, channel: Channel, key: str, response: httpx.Response) -> None:
        """Enter what an answer says about money; the receipt of a stream is entered when it comes, at its end.

        ReceiptError when it cannot be right; the session is then in dispute, and nothing more is spent from it.
        """
        try:
            receipt = receipt_of(response)
            if receipt is None:
                await self._unreceipted(channel, key, response)
            elif _comes_last(channel, receipt, response):
                check_receipt(channel, receipt)
                await self._watch_stream(channel, key, response)
            else:
                await self._enter(channel, key, response, receipt)
        except (BookError, MessageError) as error:
            raise await self.dispute(channel, str(error), response) from None

    async def _enter(self, channel: Channel, key: str, response: httpx.Response, receipt: Receipt) -> None:
        digest = _digest(response.request)
        await self._setup.update(
            channel.session_id,
            lambda kept: enter_receipt(kept, receipt, key=key, digest=digest).dated(self._setup.now()),
        )
        response.extensions[RECEIPT_EXTENSION] = receipt

    async def _watch_stream(self, channel: Channel, key: str, response: httpx.Response) -> None:
        """Have the receipt that ends the stream entered as it arrives."""

        async def ended(text: str | None, digest: bytes) -> None:
            await self._streamed(channel, key, response, text, digest)

        # What was asked is being answered: the same request again is another one.
        await self._setup.update(channel.session_id, lambda kept: kept.with_book(kept.book.sent(key)))
        body = MeteredBody(response.stream, ended)
        if response.is_stream_consumed:  # by a transport that reads answers whole
            await body.take_whole(response.content)
        response.stream = body

    async def _streamed(
        self, channel: Channel, key: str, response: httpx.Response, text: str | None, digest: bytes
    ) -> None:
        """Enter the receipt of a stream, or remember that it must be asked for."""
        if text is None:
            sent = response.request
            again = httpx.Request(sent.method, sent.url, headers=sent.headers, content=sent.content)
            self._cut_off[key] = CutOff(channel.session_id, key, again)
            return
        try:
            receipt = parse_receipt(text)
            check_digest(receipt, digest)
            await self._enter(channel, key, response, receipt)
        except (BookError, MessageError) as error:
            raise await self.dispute(channel, str(error), response, read=False) from None

    def cut_off(self, channel: Channel) -> "CutOff | None":
        """What asks again for the receipt of a stream of this session that was not read to its end.

        Each is asked once. Where it does not help, the books go on counting the stream with all that it may cost.
        """
        mine = (key for key, cut in self._cut_off.items() if cut.session_id == channel.session_id)
        key = next(mine, None)
        if key is None:
            return None
        cut = self._cut_off.pop(key)
        cut.request.headers[HEADER_CREDENTIAL] = channel.pay_header()
        return cut

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
                require_custody(offer, allowed=setup.allow_custodial)
            except ClientError as refusal:
                refusals.append(refusal)
            else:
                return offer
        raise refusals[0]


class RetiredError(Exception):
    """The session could neither pay nor be topped up, and is closed: another one has to pay."""


def _is_final(refusal: RefusedError | SessionError) -> bool:
    """Whether the session takes no top-up any more, as against one that the caller's own rules forbid.

    One that the service has refused and that might still land does so before the close or never, and is in the refund
    then. One that nobody has said anything about is waited for.
    """
    refused = isinstance(refusal, TopUpUnconfirmedError) and refusal.refused
    return refused or isinstance(refusal, TopUpRefusedError)


class _UncoveredError(Exception):
    """Requests at once have reserved what was left in the session."""


def _comes_last(channel: Channel, receipt: Receipt, response: httpx.Response) -> bool:
    """Whether this receipt is the one at the beginning of a stream, which says nothing about the request yet."""
    return channel.offer.request.retainer is not None and not is_metered(receipt) and is_stream(response)


def _digest(request: httpx.Request) -> bytes:
    return request_digest(request.method, request.url.raw_path.decode("ascii"), request.content)
