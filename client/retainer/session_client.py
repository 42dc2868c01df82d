"""The client: sessions opened, used, watched and closed, by hand or by an httpx client that pays by itself."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

import httpx
from solders.pubkey import Pubkey

from retainer.auth import SessionAuth
from retainer.chain.base import Chain
from retainer.chain.confirm import SystemTimer, Timer
from retainer.chain.rpc import RpcChain
from retainer.channels.accounting import check_body
from retainer.channels.book import BookError
from retainer.channels.channel import Channel
from retainer.channels.views import view_of
from retainer.errors import ClientError, SessionError
from retainer.flows.answers import RECEIPT_EXTENSION
from retainer.flows.closer import Closer, CloseResult
from retainer.flows.exposure import learn_end
from retainer.flows.holding import holding_of
from retainer.flows.leaving import Exit, Leaving
from retainer.flows.offers import Offer, ask_again, ask_offers
from retainer.flows.opener import Opener, Submit
from retainer.flows.payments import Payments
from retainer.flows.preview import Consent
from retainer.flows.setup import Setup, VoucherSigners
from retainer.flows.streams import MeteredBody
from retainer.flows.topper import Topper
from retainer.flows.witness import Witness
from retainer.protocol.constants import HEADER_CREDENTIAL, HEADER_IDEMPOTENCY_KEY
from retainer.protocol.encoding import canonical_json
from retainer.protocol.receipts import Receipt, receipt_header
from retainer.protocol.session import SessionState
from retainer.protocol.signing import Signer
from retainer.protocol.views import SessionView
from retainer.protocol.vouchers import SignedVoucher, voucher_to_json
from retainer.stores import SessionStore, create_channel_store
from retainer.stores.receipts import ReceiptFolder
from retainer.trust.caps import Amount, SpendingCaps, TopUpPolicy
from retainer.trust.pins import Pins

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.2
_TIMEOUT_SECONDS: Final = 60.0
# RFC 9110: doing these twice has the effect of doing them once.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
# With these states the chain has nothing to add.
_FINAL: Final = frozenset({SessionState.REFUNDED})


class SessionClient:
    """Fund once, ask many. An async context manager.

    ``chain`` or ``rpc_url``: a node that the *caller* trusts; what a service says about money is held against it.
    ``pins``: the network and the escrow programs to trust. ``caps``: what may be spent and locked. ``voucher_signer``:
    who signs vouchers where the service takes them, ``signer`` by default; or what picks that key by a session's scope
    and the stored session, as a wallet does. ``deposit``: what a
    session gets that opens by itself, otherwise what the service suggests within ``caps.per_session``; with neither,
    only ``create_session`` opens one. ``top_up``: when
    sessions get more by themselves. ``allow_custodial``: whether to pay services that hold the money themselves,
    where nothing on chain brings back what is not used. ``consent``: is shown what is about to be deposited, before
    anything is signed, and may refuse. ``http``: for another transport, proxy or timeout; it stays
    the caller's to close, as does ``chain``. ``store``: where sessions are kept, in memory by default. ``receipts``: a
    folder to keep every receipt in, beside what this client saw of the answer; ``retainer audit settlement`` reads it.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        chain: Chain | None = None,
        rpc_url: str | None = None,
        pins: Pins | None = None,
        caps: SpendingCaps | None = None,
        voucher_signer: Signer | VoucherSigners | None = None,
        deposit: Amount | None = None,
        top_up: TopUpPolicy | None = None,
        allow_custodial: bool = False,
        consent: Consent | None = None,
        http: httpx.AsyncClient | None = None,
        store: SessionStore | None = None,
        receipts: str | os.PathLike[str] | None = None,
        now: Callable[[], int] = lambda: int(time.time()),
        timer: Timer | None = None,
    ) -> None:
        if (chain is None) == (rpc_url is None):
            raise ClientError("give SessionClient either chain= or rpc_url=: a node of yours to check services against")
        self._own_chain = chain is None
        self._own_http = http is None
        self._setup = Setup(
            signer=signer,
            chain=chain or RpcChain(rpc_url or ""),
            http=http or httpx.AsyncClient(timeout=_TIMEOUT_SECONDS),
            pins=pins or Pins(),
            caps=caps or SpendingCaps(),
            voucher_signer=voucher_signer,
            deposit=deposit,
            topping_up=top_up,
            allow_custodial=allow_custodial,
            consent=consent,
            store=store or create_channel_store(),
            now=now,
            timer=timer or SystemTimer(),
        )
        self._opener = Opener(self._setup)
        self._closer = Closer(self._setup)
        self._topper = Topper(self._setup)
        self._payments = Payments(self._setup, self._opener, self._topper, self._closer)
        folder = None if receipts is None else ReceiptFolder(receipts)
        self._witness = Witness(folder, self._setup.timer, now)
        self._exit = Exit(self._setup.chain, signer, self._setup.pins, self._setup.timer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of connections. Open sessions stay open: close them first, or they wait for the service to."""
        if self._own_http:
            await self._setup.http.aclose()
        if self._own_chain:
            await self._setup.chain.aclose()

    @property
    def auth(self) -> SessionAuth:
        """For ``httpx.AsyncClient(auth=client.auth)``: pays 402s within ``caps``, with sessions of this client."""
        return SessionAuth(self._payments, self._witness)

    async def offers(self, url: str, *, method: str = "GET") -> list[Offer]:
        """What the service asks for at ``url``; nothing is signed. OfferError when it asks for no session."""
        return await ask_offers(self._setup.http, url, method)

    async def create_session(
        self, offer: Offer | str, deposit_amount: Amount, *, submit: Submit = Submit.PROVIDER
    ) -> SessionView:
        """Open a session for an offer, or for the first acceptable one at a URL, with this deposit.

        The challenge is always asked for anew; an offer that got worse since the caller saw it is refused. With
        ``Submit.SELF`` this client sends the deposit to the chain itself and hands the service only its signature.
        """
        if isinstance(offer, str):
            chosen = self._payments.acceptable(await self.offers(offer))
        else:
            chosen = await ask_again(self._setup.http, offer)
        channel = await self._opener.open(chosen, deposit_amount, submit)
        return await self.get_session(self._payments.remember(channel).session_id)

    async def top_up(self, session_id: str, amount: Amount) -> SessionView:
        """Add to a session's deposit, within the caps. Interrupted, the same call takes it up again, and adds once."""
        return await self.get_session((await self._topper.top_up(session_id, amount)).session_id)

    async def get_session(self, session_id: str) -> SessionView:
        """One session of this client: its own books, with deposit and state as the chain has them."""
        channel, setup = await self._setup.channel(session_id), self._setup
        if channel.state in _FINAL:
            return view_of(channel, None, setup.now())
        holding = holding_of(setup.chain, channel)
        account = await holding.account()
        if account is None and channel.state in (SessionState.ACTIVE, SessionState.CLOSING):
            # Closed without us: by the service's sweeper, or withdrawn after the deadline.
            channel = await learn_end(setup, channel)
        return view_of(channel, account, setup.now())

    async def receipt(self, session_id: str) -> Receipt | None:
        """The receipt with the highest total so far; it proves what the operator may settle at that point."""
        return (await self._setup.channel(session_id)).receipt

    async def proofs(self, session_id: str) -> list[str]:
        """What proves the session's spending to an operator that has lost its books: one line of text each.

        The receipt with the highest total and, in voucher mode, the newest voucher. Empty before the first receipt.
        """
        channel = await self._setup.channel(session_id)
        if channel.receipt is None:
            return []
        voucher = channel.authority if isinstance(channel.authority, SignedVoucher) else None
        signed = [] if voucher is None else [canonical_json(voucher_to_json(voucher)).decode()]
        return [receipt_header(channel.receipt), *signed]

    async def sessions(self) -> list[SessionView]:
        """All sessions of this client, oldest first, as far as it knows without asking anyone."""
        now = self._setup.now()
        return [view_of(channel, None, now) for channel in await self._setup.store.channels(self._setup.payer)]

    async def request(
        self,
        method: str,
        url: str,
        *,
        session: str | None = None,
        idempotency_key: str | None = None,
        **parameters: Any,  # noqa: ANN401  those of httpx.AsyncClient.build_request
    ) -> httpx.Response:
        """Send a request and pay for it, from ``session`` or from one found or opened within the caps.

        The answer comes as it is, refusals included (`problem_of` reads them), with its verified receipt in
        ``extensions["retainer"]``. A lost connection is tried again under the same Idempotency-Key, which a service
        answers once. Where all tries are lost, the same request asked again takes that key over, in a later run as
        well, given the same store; a key that is passed in is always used as it is.
        """
        http = self._setup.http
        request = http.build_request(method, url, **parameters)
        if idempotency_key is not None:
            request.headers[HEADER_IDEMPOTENCY_KEY] = idempotency_key
        await request.aread()
        # Held through pauses, so that nobody takes the key for one that is given up.
        with ExitStack() as hand:
            auth = SessionAuth(self._payments, self._witness, session, hand)
            for tries_left in reversed(range(_TRIES)):
                try:
                    response = await http.send(request, auth=auth, follow_redirects=False)
                except httpx.TransportError:
                    if not tries_left or not (auth.paid or request.method in _IDEMPOTENT):
                        raise
                    request.headers.pop(HEADER_CREDENTIAL, None)
                    await self._setup.timer.sleep(_PAUSE_SECONDS)
                else:
                    break
        await self._check_body(response)
        return response

    async def close_session(self, session_id: str) -> CloseResult:
        """Have the session settled and the rest refunded, and return what the chain shows. Asking again is safe."""
        channel = await self._setup.channel(session_id)
        if channel.state is SessionState.PENDING:
            # The service closes only what it knows to be funded.
            await self._opener.confirm(channel)
        return await self._closer.close(session_id)

    async def request_close(self, session_id: str) -> Leaving:
        """Start the payer's own exit: after the grace period ``withdraw`` gets the deposit back, service or not."""
        await self._require_escrow(session_id)
        return await self._left(session_id, await self._exit.request_close(Pubkey.from_string(session_id)))

    async def withdraw(self, session_id: str, *, waiting: Callable[[int], None] | None = None) -> Leaving:
        """Get back what is not settled, once the grace period is over.

        Earlier NotDueError says how long it takes. With ``waiting`` this waits instead, and calls it with the seconds
        that are left; whoever is interrupted calls again, also in a later run.
        """
        await self._require_escrow(session_id)
        return await self._left(session_id, await self._exit.withdraw(Pubkey.from_string(session_id), waiting=waiting))

    async def _require_escrow(self, session_id: str) -> None:
        channel = await self._setup.store.find(self._setup.payer, session_id)
        if channel is not None and not channel.offer.request.anchor_on_chain:
            raise SessionError(
                f"the provider holds the money of session {session_id}: there is no escrow to leave. Close the session "
                "and, should the provider not pay, keep its last receipt: it is signed",
                session_id,
            )

    async def _left(self, session_id: str, leaving: Leaving) -> Leaving:
        setup, settlement = self._setup, leaving.settlement
        # A session of another store, or of none, is left all the same.
        if await setup.store.find(setup.payer, session_id):
            await setup.update(
                session_id, lambda kept: kept.settled(settlement, at=setup.now()) if settlement else kept.closing()
            )
        return leaving

    async def _check_body(self, response: httpx.Response) -> None:
        receipt = response.extensions.get(RECEIPT_EXTENSION)
        # The receipt of a stream was held against it as it came.
        if receipt is None or isinstance(response.stream, MeteredBody):
            return
        try:
            check_body(receipt, response.status_code, response.content, response.headers)
        except BookError as error:
            channel: Channel = await self._setup.channel(str(receipt.reference))
            raise await self._payments.dispute(channel, str(error), response) from None
