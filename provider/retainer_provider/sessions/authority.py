"""Who may act for a session: its payer, proven for the challenge that opened it, or the signer of its vouchers."""

from solders.pubkey import Pubkey

from retainer.protocol.authentication import SessionProof, verify_proof
from retainer.protocol.challenges import Challenge
from retainer.protocol.problems import ProblemType
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.sessions.refusals import RefusedError, refuse
from retainer_provider.sessions.vouchers import check_signature
from retainer_provider.wire.challenger import Challenger


async def authenticate(
    challenger: Challenger, ledger: Ledger, challenge: Challenge, channel_id: Pubkey, proof: SessionProof | None
) -> SessionRecord:
    """The session that its payer's proof names; what is cheap is checked before the books are (F17)."""
    challenger.require_ours(challenge)
    if proof is None or proof.challenge_id != challenge.id or not verify_proof(proof, channel_id):
        raise _unproven()
    record = await _known(ledger, channel_id)
    if (record.challenge_id, record.payer) != (challenge.id, proof.payer):
        raise _unproven()
    return record


async def vouched(
    challenger: Challenger, ledger: Ledger, challenge: Challenge, channel_id: Pubkey, signed: SignedVoucher
) -> SessionRecord:
    """The session that a correctly signed voucher names; whether its signer is the session's is still to be judged."""
    challenger.require_ours(challenge)
    refusal = check_signature(signed)
    if refusal is not None:
        raise RefusedError(refusal)
    return await _known(ledger, channel_id)


async def _known(ledger: Ledger, channel_id: Pubkey) -> SessionRecord:
    record = await ledger.session(str(channel_id))
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
