from dataclasses import replace

import pytest

from retainer.protocol.authentication import (
    SessionProof,
    proof_from_json,
    proof_message,
    proof_to_json,
    sign_proof,
    verify_proof,
)
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from tests.unit.protocol.examples import PAYER, SESSION, STRANGER

PROOF = sign_proof("challenge-1", SESSION, PAYER)


def test_the_payer_signs_the_canonical_json_of_the_draft() -> None:
    assert proof_message("challenge-1", SESSION, PAYER.pubkey()).decode() == (
        f'{{"channelId":"{SESSION}","domain":"mpp-session-auth-v1",'
        f'"payer":"{PAYER.pubkey()}","sessionChallengeId":"challenge-1"}}'
    )
    assert verify_proof(PROOF, SESSION)


@pytest.mark.parametrize(
    "forged",
    [
        replace(PROOF, challenge_id="challenge-2"),
        replace(PROOF, payer=STRANGER.pubkey()),
        replace(PROOF, signature=sign_proof("challenge-1", SESSION, STRANGER).signature),
    ],
)
def test_a_proof_binds_challenge_channel_and_payer(forged: SessionProof) -> None:
    assert not verify_proof(forged, SESSION)
    assert not verify_proof(PROOF, STRANGER.pubkey())


def test_the_json_form_comes_back() -> None:
    assert proof_from_json(Fields(proof_to_json(PROOF), "authentication")) == PROOF


@pytest.mark.parametrize(("field", "value"), [("type", "other"), ("challengeId", ""), ("payer", 1), ("signature", "x")])
def test_a_bad_field_is_named(field: str, value: object) -> None:
    with pytest.raises(MessageError, match=rf"^payload\.authentication\.{field} "):
        proof_from_json(Fields({**proof_to_json(PROOF), field: value}, "payload.authentication"))
