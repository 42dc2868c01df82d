"""Custodial deposits: plain transfers to this service's payee, which then holds the money itself.

Nothing on chain protects anybody here, so nothing is taken on trust: a transfer counts only when it is final, when it
is exactly the transfer that was agreed and names the session, and when its signature has never counted before. It is
on the books before it is sent, so that a crash loses no deposit and no session is settled around one.
"""

from collections.abc import Mapping
from typing import Final

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import read_token_account
from retainer.protocol.actions import OpenAction, TopUpAction
from retainer.protocol.amounts import BaseUnits, format_amount
from retainer.protocol.challenges import Challenge
from retainer.protocol.constants import TRANSACTION_LIFE
from retainer.protocol.errors import LayoutError, TransactionError
from retainer.protocol.layouts import decode_mint
from retainer.protocol.pda import derive_ata
from retainer.protocol.problems import ProblemType
from retainer.protocol.tokens import ALLOWED_MINT_EXTENSIONS
from retainer.protocol.transfers import SignedTransfer, Transfer, inspect_transfer
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import CreditOutcome, ExpectOutcome
from retainer_provider.books.records import Custody, ExpectedTransfer, SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.sessions.claims import Claim, Claims, Holder, replayed, require
from retainer_provider.sessions.landing import Landing, failed, unconfirmed
from retainer_provider.sessions.refusals import RefusedError, refuse
from retainer_provider.sessions.top_ups import check_session
from retainer_provider.wire.challenger import Challenger

# Whatever the node calls newest: a transaction seen now is dead after twice the longest that one lives.
_LIFE_BLOCKS: Final = 2 * TRANSACTION_LIFE


class CustodialDeposits:
    """Opens and tops up custodial sessions. ``landing`` waits for finality: a fork must not take a deposit back."""

    def __init__(
        self,
        *,
        claims: Claims,
        identity: Identity,
        offers: Mapping[str, Offer],
        challenger: Challenger,
        chain: Chain,
        ledger: Ledger,
        clock: Clock,
        landing: Landing,
    ) -> None:
        self._claims = claims
        self._identity = identity
        self._offers = offers
        self._challenger = challenger
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._landing = landing

    async def open(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """The opened session; a repeated credential continues where the last one stopped."""
        claim = await self._claims.judge(challenge, action)
        if isinstance(claim, SessionRecord):
            return claim
        transfer = _deposit(claim)
        await self._require_own_tokens(transfer)
        if action.transaction is not None:
            signed = _read(action.transaction, transfer)
            if signed.blockhash != claim.demands.request.recent_blockhash:
                raise refuse(
                    ProblemType.VERIFICATION_FAILED,
                    "The transaction does not name the challenge's recentBlockhash: build it with that one.",
                )
            known = await self._ledger.session(claim.session_id) is not None
            sent = await self._chain.signature_status(signed.signature) is not None
            if not (known or sent):
                await self._require_effect(action.transaction)
        else:
            signed, sent = await self._found(str(action.signature), transfer), True
        await self._claims.admit(claim, _holder(claim), signed.signature)
        await self._expect(claim.session_id, signed)
        if action.transaction is not None and not sent:
            await self._landing.send(action.transaction)
        return await self._credit(claim.session_id, signed)

    async def top_up(self, challenge: Challenge, action: TopUpAction) -> SessionRecord:
        """The session with its greater deposit, or as it is where this transfer has counted before."""
        self._challenger.require_ours(challenge)
        session_id = str(action.channel_id)
        record = await self._ledger.session(session_id)
        if record is None or record.custody is not Custody.PROVIDER:
            raise refuse(
                ProblemType.SESSION_UNKNOWN,
                f"This service knows no custodial session {session_id}: open one with the fresh challenge.",
            )
        require(check_session(record, self._clock.now()))
        transfer = self._addition(record, action)
        signed = _read(action.transaction, transfer)
        sent = await self._chain.signature_status(signed.signature) is not None
        if not sent:
            self._require_room(record, transfer.amount)
            await self._require_own_tokens(transfer)
            await self._require_effect(action.transaction)
        await self._expect(session_id, signed)
        if not sent:
            await self._landing.send(action.transaction)
        return await self._credit(session_id, signed)

    def _addition(self, record: SessionRecord, action: TopUpAction) -> Transfer:
        return Transfer(
            session=action.channel_id,
            sender=record.payer,
            recipient=record.payee,
            mint=record.mint,
            decimals=record.decimals,
            token_program=record.token_program,
            amount=action.additional_amount,
        )

    def _require_room(self, record: SessionRecord, amount: BaseUnits) -> None:
        offer = self._offers.get(record.offer_id)
        most = 0 if offer is None else offer.maximum_deposit
        if amount == 0 or record.deposit + amount > most:
            raise refuse(
                ProblemType.DEPOSIT_TERMS_MISMATCH,
                f"The deposit would be {format_amount(record.deposit + amount, record.decimals)}, but this offer takes "
                f"at most {format_amount(most, record.decimals)} and no empty top-up: add another amount.",
            )

    async def _require_own_tokens(self, transfer: Transfer) -> None:
        """The tokens are the sender's own, to whom they go back; and what arrives is what was sent, without a fee."""
        source = derive_ata(transfer.sender, transfer.mint, transfer.token_program)
        token, held = await self._chain.accounts([transfer.mint, source])
        try:
            plain = token is not None and not set(decode_mint(token.data).extensions).difference(
                ALLOWED_MINT_EXTENSIONS
            )
            owner = None if held is None else read_token_account(held).owner
        except (ForeignAccountError, LayoutError):
            plain, owner = False, None
        if not plain or owner != transfer.sender:
            raise refuse(
                ProblemType.DEPOSIT_FOREIGN,
                f"{source} is not {transfer.sender}'s own account of a token without transfer extensions: pay from "
                "your associated token account.",
            )

    async def _require_effect(self, raw: bytes) -> None:
        # What cannot take effect is not worth a row: rows are for ever.
        simulation = await self._chain.simulate(raw)
        if simulation.error is not None:
            raise failed(simulation.error)

    async def _found(self, signature: str, transfer: Transfer) -> SignedTransfer:
        """A transfer that the agent sent itself, final and just as agreed."""
        await self._landing.confirmed(signature)
        info = await self._chain.transaction(signature, commitment=Commitment.FINALIZED)
        if info is None:
            raise unconfirmed(signature)
        if info.error is not None:
            raise failed(info.error)
        return _read(info.raw, transfer)

    async def _expect(self, session_id: str, signed: SignedTransfer) -> None:
        height = await self._chain.block_height(commitment=Commitment.CONFIRMED)
        expected = ExpectedTransfer(signed.signature, signed.amount, height + _LIFE_BLOCKS)
        match await self._ledger.expect_transfer(session_id, expected):
            case ExpectOutcome.REPLAYED:
                raise replayed(session_id)
            case ExpectOutcome.DEAD | ExpectOutcome.NOT_OPEN:
                raise _gone(session_id)
            case ExpectOutcome.EXPECTED | ExpectOutcome.KNOWN:
                return

    async def _credit(self, session_id: str, signed: SignedTransfer) -> SessionRecord:
        await self._landing.confirmed(signed.signature)
        outcome = await self._ledger.credit_transfer(session_id, signed.signature, self._clock.now())
        record = await self._ledger.session(session_id)
        if outcome is CreditOutcome.REFUSED or record is None:
            raise _gone(session_id)
        return record


def _deposit(claim: Claim) -> Transfer:
    action, offer = claim.action, claim.demands.offer
    return Transfer(
        session=action.channel_id,
        sender=action.payer,
        recipient=claim.demands.identity.payee,
        mint=offer.mint,
        decimals=offer.decimals,
        token_program=offer.token_program,
        amount=action.deposit,
    )


def _holder(claim: Claim) -> Holder:
    us, offer = claim.demands.identity, claim.demands.offer
    account = derive_ata(us.payee, offer.mint, offer.token_program)
    return Holder(us.operator, claim.action.payer, account, Custody.PROVIDER)


def _read(raw: bytes, transfer: Transfer) -> SignedTransfer:
    try:
        return inspect_transfer(raw, transfer)
    except TransactionError as error:
        raise refuse(
            ProblemType.DEPOSIT_FOREIGN,
            f"The transaction is not the transfer that this session needs: {error}. Build it for this session.",
        ) from None


def _gone(session_id: str) -> RefusedError:
    return refuse(
        ProblemType.DEPOSIT_FAILED,
        f"This transfer cannot count for session {session_id}: it never took effect, or the session is over. Sign a "
        "new one for an open session.",
    )
