"""Adding to a session's deposit: check, sign, keep, hand over, and believe only the chain about what came of it."""

import contextlib
from typing import Final

import httpx
from solders.hash import Hash

from retainer.chain.base import Commitment
from retainer.chain.confirm import ConfirmationOutcome, confirm, look_up
from retainer.chain.errors import ChainUnavailableError
from retainer.channels.accounting import check_receipt
from retainer.channels.book import BookError
from retainer.channels.channel import Channel, PendingTopUp
from retainer.errors import CapError, ReceiptError, SessionError, TopUpRefusedError, TopUpUnconfirmedError
from retainer.flows.answers import problem_of, receipt_of, words_of
from retainer.flows.exposure import exposures, require_room
from retainer.flows.holding import holding_of
from retainer.flows.lifecycle import ask_until
from retainer.flows.opener import is_undecided
from retainer.flows.preview import preview_of
from retainer.flows.setup import Setup
from retainer.protocol.actions import TopUpAction
from retainer.protocol.amounts import BaseUnits, base_units, format_amount
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.errors import MessageError
from retainer.protocol.session import SessionState
from retainer.stores.base import unknown
from retainer.trust.caps import Amount, Deposited, in_base_units
from retainer.trust.facts import read_facts
from retainer.trust.policy import require_custody
from retainer.wallet import sign_transaction

_CONFIRMATION_SECONDS: Final = 90.0
_SLOT_SECONDS: Final = 0.4


class Topper:
    """Adds to deposits with the payer's own funds."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._signed_under: Hash | None = None

    async def top_up(self, session_id: str, amount: Amount) -> Channel:
        """Add ``amount`` and return the session with its greater deposit.

        A top-up whose outcome is open is taken up again instead: never are two under way. RefusedError: nothing was
        signed. TopUpRefusedError: nothing was added, or the service does not count it. TopUpUnconfirmedError: it is
        on its way, and the same call takes it up again.
        """
        channel = await self._setup.channel(session_id)
        if channel.state is not SessionState.ACTIVE or channel.dispute is not None:
            raise TopUpRefusedError(
                f"session {session_id} is {channel.dispute or channel.state}; open another", session_id
            )
        if channel.top_up is None:
            channel = await self._sign(channel, amount)
        if channel.top_up is None:
            raise SessionError(f"the top-up of session {session_id} was finished elsewhere; look again", session_id)
        return await self._hand_over(channel, channel.top_up)

    async def _sign(self, channel: Channel, amount: Amount) -> Channel:
        setup, payer, session_id = self._setup, self._setup.payer, channel.session_id
        require_custody(channel.offer, allowed=setup.allow_custodial)
        holding, mint = holding_of(setup.chain, channel), channel.offer.request.currency
        standing = await holding.standing(payer)
        if standing is None:
            raise TopUpRefusedError(f"session {session_id} is not open on chain; open another", session_id)
        left = standing.expires_at - setup.now()
        if standing.expires_at and left <= _CONFIRMATION_SECONDS:
            raise TopUpRefusedError(
                f"session {session_id} expires in {max(left, 0)} s, before a top-up is sure to land; open another",
                session_id,
            )
        facts = await read_facts(setup.chain, mint, payer)
        added = in_base_units(amount, facts.decimals)
        total = base_units(standing.deposit + added)
        signing = Deposited(setup.now(), mint, added, channel.scope.origin)
        await require_room(setup, lambda others: setup.caps.require_top_up(signing, total, facts.decimals, others))
        if not 0 < added <= facts.balance:
            raise CapError(
                f"your token account holds {format_amount(facts.balance, facts.decimals)}, and the top-up is "
                f"{format_amount(added, facts.decimals)}; nothing was signed"
            )
        shown = preview_of(
            channel.offer, facts, added=added, deposit=total, expires_at=standing.expires_at, session_id=session_id
        )
        await setup.agree(shown)
        instruction = holding.addition(standing, payer, added, facts.token_program)
        sponsor = channel.offer.sponsor
        latest = await setup.chain.latest_blockhash()
        transaction, signature = sign_transaction(setup.signer, [instruction], latest.blockhash, sponsor=sponsor)
        # Two equal top-ups under one blockhash are one transaction, which adds once.
        while latest.blockhash == self._signed_under or (
            signature is not None and await setup.chain.signature_status(str(signature)) is not None
        ):
            await setup.timer.sleep(_SLOT_SECONDS)
            latest = await setup.chain.latest_blockhash()
            transaction, signature = sign_transaction(setup.signer, [instruction], latest.blockhash, sponsor=sponsor)
        self._signed_under = latest.blockhash
        action = TopUpAction(channel.address, added, transaction)
        credential = authorization_header(Credential(channel.offer.challenge, action))
        known = None if signature is None else str(signature)
        pending = PendingTopUp(credential, known, latest.last_valid_block_height, added, total)

        # Kept before it leaves, and only where no other worker has one under way.
        # A deposit that has grown since it was looked at means that another one is done with it: the caps were held
        # against the old one.
        def choice(kept: list[Channel]) -> Channel:
            newest = next((one for one in kept if one.session_id == session_id), None)
            if newest is None:
                raise unknown(session_id)
            if newest.top_up or newest.deposit != channel.deposit:
                return newest
            setup.caps.require_top_up(signing, total, facts.decimals, exposures(kept, signing.at))
            return newest.topping_up(pending)

        return await setup.store.choose(payer, choice)

    async def _hand_over(self, channel: Channel, pending: PendingTopUp) -> Channel:
        setup, session_id = self._setup, channel.session_id
        response = await ask_until(
            setup, channel.offer, pending.credential, undecided=is_undecided, seconds=_CONFIRMATION_SECONDS
        )
        accepted = response is not None and response.is_success
        outcome = await self._outcome(channel, pending, wait=accepted)
        if outcome in (ConfirmationOutcome.FAILED, ConfirmationOutcome.EXPIRED):
            await setup.update(session_id, Channel.not_topped_up)
            said = "" if response is None else f": {words_of(response)}"
            raise TopUpRefusedError(f"the top-up of session {session_id} came to nothing{said}", session_id)
        if outcome is not ConfirmationOutcome.LANDED:
            refused = response is not None and not accepted
            said = f" (the service refused it: {words_of(response)})" if response is not None and refused else ""
            raise TopUpUnconfirmedError(
                f"the top-up of session {session_id} is not confirmed yet{said}; do the same again to go on waiting. "
                "No second one is made meanwhile",
                session_id,
                problem_of(response) if response is not None else None,
                refused=refused,
            )
        account = await holding_of(self._setup.chain, channel).account()
        deposit = BaseUnits(channel.deposit + pending.amount) if account is None else account.deposit
        topped = await setup.update(session_id, lambda kept: kept.topped_up(deposit))
        if response is None or not accepted:
            said = "it does not answer" if response is None else words_of(response)
            raise TopUpRefusedError(
                f"the top-up of session {session_id} is on chain, and the service does not count it: {said}. "
                "Close the session to get it back",
                session_id,
            )
        await self._require_receipt(topped, response)
        return topped

    async def _outcome(self, channel: Channel, pending: PendingTopUp, *, wait: bool) -> ConfirmationOutcome:
        """What the caller's own node says; a service that accepts may be ahead of it, so then this waits."""
        chain, last = self._setup.chain, pending.last_valid_block_height
        if pending.signature is None:
            return await self._outcome_by_total(channel, pending, wait=wait)
        if wait:
            return await confirm(chain, pending.signature, last_valid_block_height=last, clock=self._setup.timer)
        try:
            return await look_up(chain, pending.signature, Commitment.CONFIRMED, last)
        except ChainUnavailableError:
            return ConfirmationOutcome.UNKNOWN

    async def _outcome_by_total(self, channel: Channel, pending: PendingTopUp, *, wait: bool) -> ConfirmationOutcome:
        """The same for a sponsored one, by the account: only its payer adds to a deposit, and one top-up at a time."""
        timer = self._setup.timer
        give_up_at = timer.monotonic() + (_CONFIRMATION_SECONDS if wait else 0)
        while True:
            with contextlib.suppress(ChainUnavailableError):
                # The height is read first: a top-up landing between the two reads is then still seen.
                height = await self._setup.chain.block_height(commitment=Commitment.FINALIZED)
                account = await holding_of(self._setup.chain, channel).account()
                if account is not None and account.deposit >= pending.total:
                    return ConfirmationOutcome.LANDED
                if height > pending.last_valid_block_height:
                    return ConfirmationOutcome.EXPIRED
            if timer.monotonic() >= give_up_at:
                return ConfirmationOutcome.UNKNOWN
            await timer.sleep(_SLOT_SECONDS)

    async def _require_receipt(self, channel: Channel, response: httpx.Response) -> None:
        try:
            receipt = receipt_of(response)
            if receipt is not None:
                check_receipt(channel, receipt)
        except (BookError, MessageError) as error:
            reason = f"the receipt for the top-up of session {channel.session_id} cannot be right: {error}"
            await self._setup.update(channel.session_id, lambda kept: kept.disputed(reason))
            raise ReceiptError(f"{reason}; nothing more is spent from it", channel.session_id, response) from None
