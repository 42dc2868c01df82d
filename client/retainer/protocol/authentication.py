"""The session proof of metered mode: the payer's signature that ties one challenge to one channel.

It is a bearer token: whoever holds it can ask for service against the channel. Never log it.
"""

from dataclasses import dataclass
from typing import Final

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol import fields
from retainer.protocol.encoding import Json, canonical_json
from retainer.protocol.fields import Fields

_DOMAIN: Final = "mpp-session-auth-v1"
_TYPE: Final = "proof"


@dataclass(frozen=True, slots=True)
class SessionProof:
    """Who proves, for which opening challenge; the channel is named by the action that carries the proof."""

    challenge_id: str
    payer: Pubkey
    signature: Signature


def proof_message(challenge_id: str, channel_id: Pubkey, payer: Pubkey) -> bytes:
    """The canonical JSON that the payer signs."""
    return canonical_json(
        {
            "channelId": str(channel_id),
            "domain": _DOMAIN,
            "payer": str(payer),
            "sessionChallengeId": challenge_id,
        }
    )


def sign_proof(challenge_id: str, channel_id: Pubkey, keypair: Keypair) -> SessionProof:
    """Sign with the payer's key, once per session."""
    payer = keypair.pubkey()
    return SessionProof(challenge_id, payer, keypair.sign_message(proof_message(challenge_id, channel_id, payer)))


def verify_proof(proof: SessionProof, channel_id: Pubkey) -> bool:
    """Whether the named payer signed for challenge and channel; the caller checks that it is the session's payer."""
    return proof.signature.verify(proof.payer, proof_message(proof.challenge_id, channel_id, proof.payer))


def proof_to_json(proof: SessionProof) -> dict[str, Json]:
    """The draft's ``authentication`` object."""
    return {
        "type": _TYPE,
        "challengeId": proof.challenge_id,
        "payer": str(proof.payer),
        "signature": str(proof.signature),
    }


def proof_from_json(authentication: Fields) -> SessionProof:
    """Read the draft's ``authentication`` object; MessageError names the bad field."""
    authentication.require("type", fields.exactly(_TYPE))
    return SessionProof(
        challenge_id=authentication.require("challengeId", fields.filled_text),
        payer=authentication.require("payer", fields.pubkey),
        signature=authentication.require("signature", fields.signature),
    )
