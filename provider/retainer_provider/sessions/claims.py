"""What an opening claims, wherever its money is: whose it is, for which offer, and whether it is new."""

from collections.abc import Mapping
from dataclasses import dataclass

from solders.pubkey import Pubkey

from retainer.protocol.actions import OpenAction
from retainer.protocol.authentication import verify_proof
from retainer.protocol.challenges import Challenge
from retainer.protocol.offers import SessionRequest
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState, VoucherSigner
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import AdmitOutcome
from retainer_provider.books.records import Custody, NewSession, SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.sessions import deposits
from retainer_provider.sessions.deposits import Demands
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.wire.challenger import Challenger


@dataclass(frozen=True, slots=True)
class Claim:
    """An opening that is its payer's own, fits its challenge, and is not done."""

    challenge: Challenge
    action: OpenAction
    demands: Demands

    @property
    def session_id(self) -> str:
        """The session's address in base58."""
        return str(self.action.channel_id)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who the deposit is with, as transaction or account state it."""

    operator: Pubkey
    rent_payer: Pubkey
    escrow: Pubkey
    custody: Custody = Custody.ESCROW


class Claims:
    """Judges openings and writes them down; wherever the money is held."""

    def __init__(
        self,
        *,
        identity: Identity,
        offers: Mapping[str, Offer],
        challenger: Challenger,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._offers = offers
        self._challenger = challenger
        self._ledger = ledger
        self._clock = clock

    async def judge(self, challenge: Challenge, action: OpenAction, *, invoiced: bool = False) -> Claim | SessionRecord:
        """The claim, or the session that it has opened before.

        RefusedError where it is not its payer's, not for an offer of ours, or not new. What is `invoiced` was written
        down here with a challenge of its own, whose salt nobody else knows: it needs no proof, and may come late.
        """
        request = self._challenger.require_ours(challenge)
        if not invoiced:
            _require_proof(request, challenge, action)
        record = await self._ledger.session(str(action.channel_id))
        if record is None:
            if not invoiced:
                self._challenger.require_fresh(challenge)
        else:
            _require_same_opening(record, challenge, action)
            if record.state is not SessionState.PENDING:
                return record
        demands = self._demands(request)
        if record is None:
            require(deposits.check_offer(demands))
        require(deposits.check_credential(action, demands))
        return Claim(challenge, action, demands)

    async def admit(self, claim: Claim, holder: Holder, signature: str | None) -> None:
        """Write the claim down as PENDING, or find it written down already."""
        action, offer, terms = claim.action, claim.demands.offer, claim.demands.terms
        admitted = await self._ledger.admit(
            NewSession(
                session_id=claim.session_id,
                offer_id=offer.id,
                challenge_id=claim.challenge.id,
                payer=action.payer,
                payee=action.payee,
                operator=holder.operator,
                authorized_signer=action.authorized_signer,
                rent_payer=holder.rent_payer,
                mint=action.mint,
                decimals=offer.decimals,
                token_program=offer.token_program,
                escrow=holder.escrow,
                salt=action.salt,
                open_slot=action.open_slot,
                voucher_signer=claim.demands.request.voucher_signer,
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
                custody=holder.custody,
            )
        )
        if admitted.outcome is AdmitOutcome.KNOWN_OTHER:
            raise replayed(claim.session_id)

    def _demands(self, request: SessionRequest) -> Demands:
        terms = request.retainer
        offer = None if terms is None else self._offers.get(terms.offer_id)
        if terms is None or offer is None:
            raise refuse(
                ProblemType.CHALLENGE_EXPIRED,
                "The offer of this challenge is no longer made: open the session with the fresh one.",
            )
        return Demands(self._identity, offer, request, terms)


def require(refusal: Refusal | None) -> None:
    """RefusedError for a refusal."""
    if refusal is not None:
        raise RefusedError(refusal)


def replayed(session_id: str) -> RefusedError:
    """A deposit that was shown before, for something else."""
    return refuse(
        ProblemType.DEPOSIT_REPLAYED,
        f"The deposit of session {session_id} was presented before, with another challenge: use that session with "
        "the credential that opened it, or open a new one.",
    )


def gone(session_id: str) -> RefusedError:
    """A deposit that was given up."""
    return refuse(
        ProblemType.DEPOSIT_FAILED,
        f"The deposit of session {session_id} did not arrive in time and was given up. If it has arrived since, "
        "request its close on chain and withdraw it; then open a new session.",
    )


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
        raise replayed(session_id)
    if record.state is SessionState.ABANDONED:
        raise gone(session_id)
    if record.state is SessionState.CLOSING:
        raise refuse(ProblemType.SESSION_CLOSING, f"Session {session_id} is being closed: open a new one.")
    if record.state is SessionState.REFUNDED:
        raise refuse(ProblemType.SESSION_CLOSED, f"Session {session_id} is closed: open a new one.")
