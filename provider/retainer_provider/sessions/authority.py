"""Who may act for a session: whoever proves, for the challenge that opened it, to be its payer."""

from solders.pubkey import Pubkey

from retainer.protocol.authentication import SessionProof, verify_proof
from retainer.protocol.challenges import Challenge
from retainer.protocol.problems import ProblemType
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.sessions.refusals import refuse
from retainer_provider.wire.challenger import Challenger


async def authenticate(
    challenger: Challenger, ledger: Ledger, challenge: Challenge, channel_id: Pubkey, proof: SessionProof | None
) -> SessionRecord:
    """The session that a `use` or `close` credential proves; what is cheap is checked before the books are (F17)."""
    challenger.require_ours(challenge)
    if proof is None or proof.challenge_id != challenge.id or not verify_proof(proof, channel_id):
        raise _unproven()
    record = await ledger.session(str(channel_id))
    if record is None:
        raise refuse(
            ProblemType.SESSION_UNKNOWN,
            f"This service knows no session {channel_id}: open one with the fresh challenge.",
        )
    if (record.challenge_id, record.payer) != (challenge.id, proof.payer):
        raise _unproven()
    return record


def _unproven() -> Exception:
    return refuse(
        ProblemType.VERIFICATION_FAILED,
        "The session proof does not fit: echo the challenge that opened the session, and the payer's signature over "
        "it and this channel.",
    )
