import asyncio
from dataclasses import replace

import pytest
from solders.keypair import Keypair

from retainer.chain.base import LatestBlockhash
from retainer.chain.errors import ChainUnavailableError
from retainer.chain.fake import FakeChain
from retainer.protocol.challenges import Challenge
from retainer.protocol.problems import ProblemType
from retainer_provider.sessions.refusals import RefusedError
from retainer_provider.wire.challenger import Challenger
from tests.books import key
from tests.shop import SECRET, identity, offers
from tests.times import ChainClock

OPERATOR = Keypair.from_seed(b"o" * 32).pubkey()
OFFER = offers(key("mint"))["standard"]
OLDER = b"older-secret-that-was-rotated-out-long-ago"


@pytest.fixture
def chain() -> FakeChain:
    return FakeChain()


def challenger(chain: FakeChain, *secrets: bytes) -> Challenger:
    return Challenger(
        identity=identity(OPERATOR), keys=secrets or [SECRET], chain=chain, clock=ChainClock(chain), ttl=300
    )


def refused(challenger: Challenger, challenge: Challenge) -> ProblemType:
    try:
        challenger.require_ours(challenge)
        challenger.require_fresh(challenge)
    except RefusedError as error:
        return error.refusal.problem
    pytest.fail("the challenge was accepted")


async def test_a_challenge_states_offer_keys_blockhash_and_expiry(chain: FakeChain) -> None:
    ours = challenger(chain)
    challenge = await ours.issue(OFFER)
    request = ours.require_ours(challenge)
    latest = await chain.latest_blockhash()
    assert (request.amount, request.currency, request.recipient) == (OFFER.price, OFFER.mint, OPERATOR)
    assert (request.recent_blockhash, request.recent_slot) == (latest.blockhash, latest.slot)
    assert request.retainer is not None
    assert request.retainer.expires_at == ChainClock(chain).now() + OFFER.duration
    ours.require_fresh(challenge)


@pytest.mark.row("F17", attack="a changed or foreign challenge", twin="the issued one is recognized")
async def test_a_changed_forged_or_foreign_challenge_is_invalid(chain: FakeChain) -> None:
    """F17."""
    ours = challenger(chain)
    challenge = await ours.issue(OFFER)
    theirs = await challenger(chain, OLDER).issue(OFFER)
    elsewhere = replace(challenge, realm="other.test")
    for forged in (theirs, elsewhere, replace(challenge, expires="2099-01-01T00:00:00Z"), replace(challenge, id="x")):
        assert refused(ours, forged) is ProblemType.INVALID_CHALLENGE


async def test_another_services_challenge_is_invalid_even_with_a_shared_secret(chain: FakeChain) -> None:
    other = Challenger(
        identity=replace(identity(OPERATOR), realm="other.test"),
        keys=[SECRET],
        chain=chain,
        clock=ChainClock(chain),
        ttl=300,
    )
    assert refused(challenger(chain), await other.issue(OFFER)) is ProblemType.INVALID_CHALLENGE


async def test_a_rotated_secret_still_recognizes_what_it_issued(chain: FakeChain) -> None:
    old = await challenger(chain, OLDER).issue(OFFER)
    challenger(chain, SECRET, OLDER).require_ours(old)
    assert refused(challenger(chain, SECRET), old) is ProblemType.INVALID_CHALLENGE


async def test_a_challenge_opens_sessions_until_the_second_it_expires(chain: FakeChain) -> None:
    ours = challenger(chain)
    challenge = await ours.issue(OFFER)
    chain.advance(seconds=299)
    ours.require_fresh(challenge)
    chain.advance(seconds=1)
    assert refused(ours, challenge) is ProblemType.CHALLENGE_EXPIRED


async def test_the_blockhash_is_asked_for_at_most_every_two_seconds(chain: FakeChain) -> None:
    ours = challenger(chain)
    first = ours.require_ours(await ours.issue(OFFER))
    chain.advance(seconds=1)
    assert ours.require_ours(await ours.issue(OFFER)).recent_slot == first.recent_slot
    chain.advance(seconds=1.5)
    assert ours.require_ours(await ours.issue(OFFER)).recent_slot != first.recent_slot


async def test_a_short_outage_of_the_chain_is_bridged_and_a_long_one_is_not(chain: FakeChain) -> None:
    """F08. A blockhash that the client could no longer use is worse than none."""
    ours = challenger(chain)
    await ours.issue(OFFER)
    chain.down = True
    chain.advance(seconds=29)
    await ours.issue(OFFER)
    chain.advance(seconds=1)
    with pytest.raises(ChainUnavailableError):
        await ours.issue(OFFER)


async def test_a_node_that_hangs_is_asked_once_for_all_who_wait(
    chain: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F08, F21."""
    asked = 0

    async def hanging(**_options: object) -> LatestBlockhash:
        nonlocal asked
        asked += 1
        chain.advance(seconds=15)
        raise ChainUnavailableError("no answer")

    monkeypatch.setattr(chain, "latest_blockhash", hanging)
    ours = challenger(chain)
    results = await asyncio.gather(*(ours.issue(OFFER) for _ in range(10)), return_exceptions=True)
    assert [type(result) for result in results] == [ChainUnavailableError] * 10
    assert asked == 1
