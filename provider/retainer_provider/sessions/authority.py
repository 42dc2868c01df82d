"""Who may act for a session: its payer, proven for the challenge that opened it, or the signer of its vouchers."""

from solders.pubkey import Pubkey

from retainer.protocol.authentication import SessionProof, verify_proof
from retainer.protocol.challenges import Challenge
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.remembered import Remembered
from retainer_provider.sessions.refusals import RefusedError, refuse
from retainer_provider.sessions.vouchers import check_signature
from retainer_provider.wire.challenger import Challenger


class Authority:
    """Knows sessions by what their clients show. Every refusal is a RefusedError.

    All requests of a session are of one session, so it is remembered as it was opened, which never goes stale. Whether
    it still has money, or is open at all, the ledger decides with each write.
    """

    def __init__(self, challenger: Challenger, ledger: Ledger) -> None:
        self._challenger = challenger
        self._ledger = ledger
        self._opened: Remembered[Pubkey, SessionRecord] = Remembered()

    def require_proven(self, challenge: Challenge, channel_id: Pubkey, proof: SessionProof | None) -> None:
        """That somebody has signed this proof for a challenge of this service and this channel."""
        self._challenger.require_ours(challenge)
        if proof is None or proof.challenge_id != challenge.id or not verify_proof(proof, channel_id):
            raise _unproven()

    def require_signed(self, challenge: Challenge, signed: SignedVoucher) -> None:
        """Whoever signed the voucher; whether that is the session's signer is still to be judged."""
        self._challenger.require_ours(challenge)
        refusal = check_signature(signed)
        if refusal is not None:
            raise RefusedError(refusal)

    def require_payer(self, challenge: Challenge, proof: SessionProof | None, record: SessionRecord) -> None:
        """That who has proven something is the payer of this session."""
        if proof is None or (record.challenge_id, record.payer) != (challenge.id, proof.payer):
            raise _unproven()

    async def authenticate(self, challenge: Challenge, channel_id: Pubkey, proof: SessionProof | None) -> SessionRecord:
        """The session that its payer's proof names, as it is now. The books are asked last (F17)."""
        self.require_proven(challenge, channel_id, proof)
        record = await self.known(channel_id)
        self.require_payer(challenge, proof, record)
        return record

    async def vouched(self, challenge: Challenge, channel_id: Pubkey, signed: SignedVoucher) -> SessionRecord:
        """The session that a correctly signed voucher names, as it is now."""
        self.require_signed(challenge, signed)
        return await self.known(channel_id)

    async def opened(self, channel_id: Pubkey) -> SessionRecord:
        """A session as it was when it was first asked for: who pays whom, by what, for which offer, on which terms.

        Nothing else of it may be relied on: what it has spent or whether it is closed changes.
        """
        record = self._opened.get(channel_id)
        if record is None:
            record = await self.known(channel_id)
            if record.state is SessionState.ACTIVE:  # until then not all of it is written
                self._opened.keep(channel_id, record)
        return record

    async def known(self, channel_id: Pubkey) -> SessionRecord:
        """A session as it is now."""
        record = await self._ledger.session(str(channel_id))
        if record is None:
            raise refuse(
                ProblemType.SESSION_UNKNOWN,
                f"This service knows no session {channel_id}: open one with the fresh challenge.",
            )
        return record


def _unproven() -> Exception:
    return refuse(
        ProblemType.VERIFICATION_FAILED,
        "The session proof does not fit: echo the challenge that opened the session, and the payer's signature over "
        "it and this channel.",
    )
