"""Opening sessions: check, sign, hand over, and take an interrupted opening up again instead of paying twice."""

import contextlib
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Final

import httpx

from retainer.chain.confirm import ConfirmationOutcome, confirm
from retainer.chain.errors import ChainUnavailableError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.channels.accounting import check_receipt
from retainer.channels.book import BookError
from retainer.channels.channel import Channel
from retainer.errors import CapError, OpeningRefusedError, OpeningUnconfirmedError, ReceiptError
from retainer.flows.answers import problem_of, receipt_of, words_of
from retainer.flows.exposure import exposures, require_room
from retainer.flows.holding import holding_of
from retainer.flows.lifecycle import ask_until
from retainer.flows.offers import Offer, ask_again
from retainer.flows.opening import build_opening
from retainer.flows.preview import Preview, preview_of
from retainer.flows.setup import Setup
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.trust.caps import Amount, Deposited, in_base_units
from retainer.trust.facts import read_facts
from retainer.trust.policy import ChainFacts, require_custody, require_deposit, require_on_chain, require_trusted

_CONFIRMATION_SECONDS: Final = 90.0
_STALE_SECONDS: Final = 20.0
# The outcome is still open: asking again is what these ask for.
_OPEN: Final = frozenset(
    {
        ProblemType.DEPOSIT_UNCONFIRMED,
        ProblemType.REQUEST_IN_FLIGHT,
        ProblemType.CHAIN_UNAVAILABLE,
        ProblemType.SERVICE_UNAVAILABLE,
        ProblemType.SERVICE_BUSY,
        ProblemType.TOO_MANY_REQUESTS,
    }
)


class Submit(StrEnum):
    """Who sends the opening transaction to the chain."""

    PROVIDER = "provider"
    SELF = "self"


class Opener:
    """Opens sessions with the payer's own funds."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    async def open(
        self, offer: Offer, amount: Amount | None, submit: Submit = Submit.PROVIDER, *, sole: bool = False
    ) -> Channel:
        """Deposit ``amount`` and return the live session.

        When None, the caller's standing deposit, else what the service suggests, as far as the caps allow. ``sole``:
        not when the store has a session by now that pays the offer; that one is returned, and taken up where its owner
        has left off, alive or dead.

        RefusedError and OfferError: nothing was signed. OpeningRefusedError: the service did not take it.
        OpeningUnconfirmedError: the deposit is on its way, and ``confirm`` takes it up again.
        """
        setup = self._setup
        agreed: Preview | None = None
        while True:
            now = setup.now()
            voucher_signer = setup.signer_for(setup.scope(offer))
            require_trusted(
                offer, payer=setup.payer, voucher_key=voucher_signer.pubkey(), pins=setup.pins, caps=setup.caps, now=now
            )
            require_custody(offer, allowed=setup.allow_custodial)
            facts = await read_facts(setup.chain, offer.request.currency, setup.payer)
            require_on_chain(offer, facts, setup.caps)
            deposit = self._deposit(offer, amount, facts)
            require_deposit(offer, deposit, facts)
            signing = Deposited(now, offer.request.currency, deposit, offer.scope.origin)
            await require_room(setup, partial(setup.caps.require_deposit, signing, facts.decimals))
            shown = preview_of(offer, facts, added=deposit)
            if agreed is not None and shown.says_what(agreed):
                break
            if await setup.agree(shown) < _STALE_SECONDS:
                break
            # A challenge's blockhash lives for a minute. What was agreed to is checked against a fresh one.
            agreed, offer = shown, await ask_again(setup.http, offer)
        channel = build_opening(
            offer,
            setup.signer,
            voucher_signer=voucher_signer,
            deposit=deposit,
            token_program=facts.token_program,
            now=now,
            self_sent=submit is Submit.SELF,
        )

        def choice(kept: list[Channel]) -> Channel:
            fitting = [other for other in kept if other.usable and other.offer.scope == offer.scope]
            if sole and fitting and fitting[-1].offer.agrees_with(offer):
                return fitting[-1]
            setup.caps.require_deposit(signing, facts.decimals, exposures(kept, now))
            return channel

        # Kept before anything leaves: whatever interrupts us, the session can be found and its deposit got back.
        # Nobody writes between this look at the other sessions and this one's record, so that workers and processes
        # on one store open one session together, and stay within the caps together.
        chosen = await setup.store.choose(setup.payer, choice)
        return await self.confirm(chosen) if chosen.state is SessionState.PENDING else chosen

    async def confirm(self, channel: Channel) -> Channel:
        """Hand the same opening over until the service has confirmed it; asking again never deposits again."""
        if channel.transaction is not None:
            await self._send(channel, channel.transaction)
        response = await ask_until(
            self._setup,
            channel.offer,
            channel.opening or channel.pay_header(),
            undecided=is_undecided,
            seconds=_CONFIRMATION_SECONDS,
        )
        if response is None:
            raise OpeningUnconfirmedError(
                f"the service has not confirmed the deposit of session {channel.session_id} yet; do the same again "
                "to go on waiting. No second deposit is made meanwhile",
                channel.session_id,
            )
        return await (self._opened if response.is_success else self._refused)(channel, response)

    async def _opened(self, channel: Channel, response: httpx.Response) -> Channel:
        try:
            receipt = receipt_of(response)
            if receipt is None:
                raise BookError("there is none")
            check_receipt(channel, receipt)
        except (BookError, MessageError) as error:
            reason = f"the receipt for opening session {channel.session_id} cannot be right: {error}"
            await self._setup.update(channel.session_id, lambda kept: kept.disputed(reason))
            raise ReceiptError(f"{reason}; nothing is spent from it", channel.session_id, response) from None
        signature = channel.creation_signature or await self._landed_as(channel)
        return await self._setup.update(channel.session_id, lambda kept: kept.opened(signature))

    async def _landed_as(self, channel: Channel) -> str | None:
        """The transaction that opened the session: the first that names its address. A sponsor has signed it last."""
        with contextlib.suppress(ChainUnavailableError):
            found = await self._setup.chain.signatures_for(channel.address)
            return found[-1] if found else None
        return None

    async def _refused(self, channel: Channel, response: httpx.Response) -> Channel:
        setup, problem = self._setup, problem_of(response)
        said = words_of(response)
        holding = holding_of(setup.chain, channel)
        if await holding.arrived():
            reason = f"the service took the deposit of session {channel.session_id} and refuses to serve it: {said}"
            await setup.update(channel.session_id, lambda kept: kept.disputed(reason))
            raise OpeningRefusedError(f"{reason}. Close the session to get it back", channel.session_id, problem)
        if await holding.may_still_land():
            note = "If the service sends it all the same, the deposit appears under this address and can be got back"
        else:
            note = "It can no longer reach the chain, so nothing was deposited"
        await setup.update(channel.session_id, Channel.abandoned)
        raise OpeningRefusedError(
            f"the service refused to open session {channel.session_id}: {said}. {note}", channel.session_id, problem
        )

    async def _send(self, channel: Channel, transaction: bytes) -> None:
        """Send it, or send the same bytes again: the chain takes them once."""
        setup = self._setup
        try:
            await setup.chain.send(transaction)
            outcome = await confirm(setup.chain, channel.creation_signature or "", clock=setup.timer)
            refusal = f"it failed on chain, transaction {channel.creation_signature}"
        except SendOutcomeUnknownError:
            return  # the service looks for the signature, and this client sends again when asked again
        except TransactionRefusedError as error:
            outcome, refusal = ConfirmationOutcome.FAILED, str(error)
        # A refusal can also mean that it landed long ago and its blockhash has died since: then the account is there.
        if outcome is ConfirmationOutcome.FAILED and not await holding_of(setup.chain, channel).arrived():
            await setup.update(channel.session_id, Channel.abandoned)
            raise OpeningRefusedError(
                f"session {channel.session_id} was not opened: {refusal}. Nothing was deposited", channel.session_id
            )

    def _deposit(self, offer: Offer, amount: Amount | None, facts: ChainFacts) -> BaseUnits:
        amount = self._setup.deposit if amount is None else amount
        if amount is not None:
            return in_base_units(amount, facts.decimals)
        cap, suggested = self._setup.caps.per_session, offer.suggested_deposit
        if cap is None:
            raise CapError(
                "a session would have to be opened, and nothing says how much it may hold; nothing was signed. Name a "
                "deposit (deposit=, --deposit), cap it with SpendingCaps(per_session=...), or use create_session"
            )
        most = in_base_units(cap, facts.decimals)
        return most if suggested is None else min(suggested, most)


def is_undecided(response: httpx.Response) -> bool:
    """Whether the outcome of a deposit is still open after this answer, so that asking again decides it."""
    problem = problem_of(response)
    if problem is not None:
        return problem.type in _OPEN
    # No word of the service's own: an overloaded gateway in between has refused nothing.
    return response.is_server_error or response.status_code == HTTPStatus.TOO_MANY_REQUESTS
