"""Opening a session: from a credential to an ACTIVE entry in the books, by way of the chain.

A deposit comes as a signed transaction for this service to send, or as the signature of one already sent. Either way
the account's state decides, read at the commitment that the settings name. A repeated credential continues where the
last one stopped, so a client that lost an answer never loses a deposit.
"""

from collections.abc import Mapping
from dataclasses import replace

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import read_session, read_token_account
from retainer.protocol.actions import OpenAction
from retainer.protocol.authentication import verify_proof
from retainer.protocol.challenges import Challenge
from retainer.protocol.envelopes import decode_transaction
from retainer.protocol.errors import TransactionError
from retainer.protocol.offers import SessionRequest
from retainer.protocol.pda import derive_ata, derive_vault
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionAccount, SessionState, VoucherSigner
from retainer.protocol.transactions import OpenRequest
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import ActivateOutcome, AdmitOutcome
from retainer_provider.books.records import NewSession, SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.sessions import deposits
from retainer_provider.sessions.deposits import Demands
from retainer_provider.sessions.landing import Landing, failed, unconfirmed
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.sponsoring import check_fee, co_signed
from retainer_provider.wire.challenger import Challenger


class Opener:
    """Opens what `offers` sell; a client may call again for as long as it likes."""

    def __init__(
        self,
        *,
        identity: Identity,
        offers: Mapping[str, Offer],
        challenger: Challenger,
        chain: Chain,
        ledger: Ledger,
        clock: Clock,
        landing: Landing,
        sponsor: Keypair | None,
    ) -> None:
        self._identity = identity
        self._offers = offers
        self._challenger = challenger
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._landing = landing
        self._sponsor = sponsor

    async def open(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """The opened session; RefusedError names what is wrong with the deposit, and credits nothing."""
        request = self._challenger.require_ours(challenge)
        _require_proof(request, challenge, action)
        record = await self._ledger.session(str(action.channel_id))
        if record is not None:
            _require_same_opening(record, challenge, action)
            if record.state is not SessionState.PENDING:
                return record
        else:
            self._challenger.require_fresh(challenge)
        demands = self._demands(request)
        if record is None:
            _require(deposits.check_offer(demands))
        _require(deposits.check_credential(action, demands))
        if action.transaction is not None:
            return await self._deliver(challenge, action, action.transaction, demands)
        return await self._find(challenge, action, demands)

    def _demands(self, request: SessionRequest) -> Demands:
        terms = request.retainer
        offer = None if terms is None else self._offers.get(terms.offer_id)
        if terms is None or offer is None:
            raise refuse(
                ProblemType.CHALLENGE_EXPIRED,
                "The offer of this challenge is no longer made: open the session with the fresh one.",
            )
        return Demands(self._identity, offer, request, terms)

    async def _deliver(self, challenge: Challenge, action: OpenAction, raw: bytes, demands: Demands) -> SessionRecord:
        """Send the agent's transaction and wait for it. It is on the books before it is sent."""
        opening = deposits.read_transaction(raw, demands)
        if isinstance(opening, Refusal):
            raise RefusedError(opening)
        _require(deposits.check_transaction(opening, action, demands))
        _require(deposits.first_broken(check_fee(opening, demands.identity)))
        raw, signature = co_signed(raw, opening.missing, self._sponsor)
        account = await self._account(action, demands)
        if account is None:
            if await self._chain.signature_status(signature) is None:
                await self._send(challenge, action, raw, replace(opening, signature=signature), demands)
            await self._landing.confirmed(signature)
            account = await self._account(action, demands)
        if account is None:
            raise unconfirmed(signature)
        return await self._activate(challenge, action, account, signature, demands)

    async def _send(
        self,
        challenge: Challenge,
        action: OpenAction,
        raw: bytes,
        opening: OpenRequest,
        demands: Demands,
    ) -> None:
        # The newest slot: the challenge's own may stem from a node that is a little ahead.
        slot = await self._chain.slot(commitment=Commitment.PROCESSED)
        _require(deposits.check_open_slot(action.open_slot, slot))
        if await self._ledger.session(str(action.channel_id)) is None:
            # What cannot take effect is not worth a row: rows are for ever.
            simulation = await self._chain.simulate(raw)
            if simulation.error is not None:
                if await self._chain.signature_status(opening.signature or "") is not None:
                    return  # the same credential on another connection: its transaction has landed meanwhile
                raise failed(simulation.error)
            await self._admit(challenge, action, opening, opening.signature, demands)
        await self._landing.send(raw)

    async def _find(self, challenge: Challenge, action: OpenAction, demands: Demands) -> SessionRecord:
        """A deposit the agent sent itself. Nothing is written before the account is there: pointing costs nothing."""
        signature = str(action.signature)
        await self._landing.confirmed(signature)
        pointed = await self._chain.transaction(signature, commitment=self._identity.commitment)
        if pointed is None:
            raise unconfirmed(signature)
        if not _names(pointed.raw, action.channel_id):
            raise refuse(
                ProblemType.DEPOSIT_FOREIGN,
                f"Transaction {signature} does not touch session {action.channel_id}: "
                "name the one that opened it, or open a session.",
            )
        account = await self._account(action, demands, min_slot=pointed.slot)
        if account is None:
            raise refuse(
                ProblemType.DEPOSIT_FOREIGN,
                f"There is no session at {action.channel_id}: transaction {signature} opened none, or it is closed. "
                "Open a new one.",
            )
        return await self._activate(challenge, action, account, signature, demands)

    async def _account(
        self, action: OpenAction, demands: Demands, min_slot: int | None = None
    ) -> SessionAccount | None:
        """The session's account, judged together with its escrow as of one slot; None while there is none."""
        session = action.channel_id
        vault, _ = derive_vault(session, demands.identity.program_id)
        ata = derive_ata(session, demands.offer.mint, demands.offer.token_program)
        found, *escrows = await self._chain.accounts(
            [session, vault, ata], commitment=demands.identity.commitment, min_slot=min_slot
        )
        if found is None:
            return None
        try:
            account = read_session(found, demands.identity.program_id)
            _require(deposits.check_account(account, action, demands))
            escrow = next((info for info in escrows if info is not None and info.address == account.escrow), None)
            if escrow is None:
                raise ForeignAccountError(f"{account.escrow} is not the escrow of session {session}")
            _require(deposits.check_escrow(read_token_account(escrow), escrow.owner, session, account, demands))
        except ForeignAccountError as error:
            raise refuse(ProblemType.DEPOSIT_FOREIGN, f"{error}. Open a session of this service's program.") from None
        return account

    async def _activate(
        self, challenge: Challenge, action: OpenAction, account: SessionAccount, signature: str, demands: Demands
    ) -> SessionRecord:
        session_id = str(action.channel_id)
        await self._admit(challenge, action, account, signature, demands)
        outcome = await self._ledger.activate(session_id, account, signature, self._clock.now())
        record = await self._ledger.session(session_id)
        if outcome is ActivateOutcome.NOT_PENDING or record is None:
            raise _gone(session_id)
        return record

    async def _admit(
        self,
        challenge: Challenge,
        action: OpenAction,
        stated: OpenRequest | SessionAccount,
        signature: str | None,
        demands: Demands,
    ) -> None:
        offer, terms = demands.offer, demands.terms
        admitted = await self._ledger.admit(
            NewSession(
                session_id=str(action.channel_id),
                offer_id=offer.id,
                challenge_id=challenge.id,
                payer=action.payer,
                payee=action.payee,
                operator=stated.operator,
                authorized_signer=action.authorized_signer,
                rent_payer=stated.rent_payer,
                mint=action.mint,
                decimals=offer.decimals,
                token_program=offer.token_program,
                escrow=stated.escrow,
                salt=action.salt,
                open_slot=action.open_slot,
                voucher_signer=demands.request.voucher_signer,
                deposit=action.deposit,
                # The offer's also for a session opened without terms, whose account states none of these.
                price=offer.price,
                expires_at=terms.expires_at,
                grace_period=action.grace_period,
                sla_hash=terms.sla_hash,
                sla_json="" if terms.sla is None else terms.sla.canonical_bytes().decode(),
                idle_timeout=action.idle_timeout_seconds or offer.idle_timeout,
                max_free_answers=offer.max_free_answers,
                creation_signature=signature,
                created_at=self._clock.now(),
            )
        )
        if admitted.outcome is AdmitOutcome.KNOWN_OTHER:
            raise _replayed(str(action.channel_id))


def _names(raw: bytes, session: Pubkey) -> bool:
    """Whether a transaction names the session among its own keys, as one that opens it must."""
    try:
        return session in decode_transaction(raw).message.account_keys
    except TransactionError:
        return False


def _require(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal)


def _require_proof(request: SessionRequest, challenge: Challenge, action: OpenAction) -> None:
    if request.voucher_signer is VoucherSigner.CLIENT and action.transaction is not None:
        return  # who has signed transaction and challenge in hand is the payer; what is on chain, anybody can point at
    proof = action.authentication
    bound = proof is not None and (proof.challenge_id, proof.payer) == (challenge.id, action.payer)
    if proof is None or not bound or not verify_proof(proof, action.channel_id):
        raise refuse(
            ProblemType.VERIFICATION_FAILED,
            "The session proof is missing, or is not the payer's signature over this challenge and channel: "
            "sign it anew for the echoed challenge.",
        )


def _require_same_opening(record: SessionRecord, challenge: Challenge, action: OpenAction) -> None:
    """A deposit opens one session, once (F01): the same credential may repeat, anything else is a replay."""
    session_id = record.session_id
    if (record.challenge_id, record.payer) != (challenge.id, action.payer):
        raise _replayed(session_id)
    if record.state is SessionState.ABANDONED:
        raise _gone(session_id)
    if record.state is SessionState.CLOSING:
        raise refuse(ProblemType.SESSION_CLOSING, f"Session {session_id} is being closed: open a new one.")
    if record.state is SessionState.REFUNDED:
        raise refuse(ProblemType.SESSION_CLOSED, f"Session {session_id} is closed: open a new one.")


def _replayed(session_id: str) -> RefusedError:
    return refuse(
        ProblemType.DEPOSIT_REPLAYED,
        f"The deposit of session {session_id} was presented before, with another challenge: use that session with "
        "the credential that opened it, or open a new one.",
    )


def _gone(session_id: str) -> RefusedError:
    return refuse(
        ProblemType.DEPOSIT_FAILED,
        f"The deposit of session {session_id} did not arrive in time and was given up. If it has arrived since, "
        "request its close on chain and withdraw it; then open a new session.",
    )
