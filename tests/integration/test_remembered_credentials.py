"""What the service remembers of good credentials opens no door that verifying them anew would close (F17)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from solders.keypair import Keypair
from solders.signature import Signature

from retainer.protocol.actions import UseAction
from retainer.protocol.authentication import sign_proof
from retainer.protocol.challenges import Challenge, parse_challenge_headers
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.problems import ProblemType
from tests.integration.conftest import AGENT, Shop, problem
from tests.shop import Opening

Spoil = Callable[[Opening, Challenge], str]


def using(opening: Opening, challenge: Challenge, proof: object) -> str:
    return authorization_header(Credential(challenge, UseAction(opening.action.channel_id, proof)))  # type: ignore[arg-type]


SPOILED: dict[str, Spoil] = {
    "another signature": lambda opening, _: using(
        opening, opening.challenge, replace(opening.proof, signature=Signature.default())
    ),
    "a stranger's proof": lambda opening, _: using(
        opening, opening.challenge, sign_proof(opening.challenge.id, opening.action.channel_id, Keypair())
    ),
    "another challenge of this service": lambda opening, other: using(opening, other, opening.proof),
    "another challenge, proven by the payer": lambda opening, other: using(
        opening, other, sign_proof(other.id, opening.action.channel_id, AGENT)
    ),
    "the challenge on other terms": lambda opening, other: using(
        opening, replace(opening.challenge, request=other.request), opening.proof
    ),
    "the challenge with another expiry": lambda opening, _: using(
        opening, replace(opening.challenge, expires="2099-01-01T00:00:00Z"), opening.proof
    ),
}


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.row("F17", attack="a credential like one that was verified, but for a part", twin="the one that was")
async def test_only_the_very_same_credential_is_known_again(shop: Shop, name: str) -> None:
    opening = await shop.opened()
    [other] = parse_challenge_headers([await shop.challenge()])
    for _ in range(3):
        assert (await shop.use(opening)).status_code == 200
    asked = len(shop.upstream.asked)
    for _ in range(2):
        refused = await shop.send(SPOILED[name](opening, other))
        assert refused.status_code == 402
        assert problem(refused).type in (ProblemType.VERIFICATION_FAILED, ProblemType.INVALID_CHALLENGE)
    assert len(shop.upstream.asked) == asked
    assert (await shop.use(opening)).status_code == 200


async def test_a_remembered_credential_does_not_outlive_its_session(shop: Shop) -> None:
    opening = await shop.opened()
    for _ in range(2):
        assert (await shop.use(opening)).status_code == 200
    assert (await shop.send(opening.close())).status_code in (200, 202)
    asked = len(shop.upstream.asked)
    assert problem(await shop.use(opening)).type in (ProblemType.SESSION_CLOSING, ProblemType.SESSION_CLOSED)
    assert len(shop.upstream.asked) == asked


async def test_a_remembered_proof_pays_no_other_session(shop: Shop) -> None:
    first, second = await shop.opened(), await shop.opened()
    assert (await shop.use(first)).status_code == 200
    assert (await shop.use(second)).status_code == 200
    crossed = authorization_header(Credential(first.challenge, UseAction(second.action.channel_id, first.proof)))
    assert problem(await shop.send(crossed)).type is ProblemType.VERIFICATION_FAILED


async def test_a_remembered_session_is_shown_as_it_is_now(shop: Shop) -> None:
    opening = await shop.opened()
    for _ in range(3):
        assert (await shop.use(opening)).status_code == 200
    assert (await shop.view(opening)).requests_made == 3
