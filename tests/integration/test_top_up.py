"""Adding to a deposit: credited from the account, once, and only while the session is open."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair

from retainer.chain.base import SimulationResult
from retainer.chain.fake import Fate
from retainer.chain.testing import mint_to, token_balance
from retainer.protocol.actions import TopUpAction
from retainer.protocol.challenges import parse_challenge_headers
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.instructions import request_close
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.protocol.views import SessionView
from tests.integration.conftest import AGENT, TOKENS, Shop, problem, receipt
from tests.shop import DEPOSIT, MINIMUM, PRICE, Opening

STRANGER = Keypair.from_seed(b"s" * 32)
ADDED = 500_000


async def blockhash(shop: Shop) -> Hash:
    return (await shop.chain.latest_blockhash()).blockhash


def transaction_of(header: str) -> bytes:
    """The transaction of a top-up credential."""
    action = parse_authorization(header).action
    assert isinstance(action, TopUpAction)
    return action.transaction


async def uncredited(shop: Shop, opening: Opening) -> None:
    """Nothing was added, sold or charged."""
    view = await shop.view(opening)
    assert (view.deposit, view.spent) == (DEPOSIT, 0)
    assert shop.upstream.asked == []


async def test_a_depleted_session_is_active_again_after_a_top_up(shop: Shop) -> None:
    """Same id, same address: the deposit in the books is the account's, and what comes back counts it."""
    opening = await shop.opened(deposit=MINIMUM)
    for _ in range(MINIMUM // PRICE):
        assert (await shop.use(opening)).status_code == 200
    short = await shop.use(opening)
    assert problem(short).type == ProblemType.SESSION_DEPLETED
    assert "top it up" in problem(short).detail
    served = len(shop.upstream.asked)
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop)))
    view = SessionView.from_json(answer.json())
    assert (answer.status_code, view.deposit, view.remaining) == (200, MINIMUM + ADDED, ADDED)
    assert (view.session_id, view.state) == (str(opening.action.channel_id), SessionState.ACTIVE)
    stated = receipt(answer)
    assert (stated.spent, stated.accepted_cumulative) == (MINIMUM, MINIMUM)
    assert len(shop.upstream.asked) == served
    assert (await shop.use(opening)).status_code == 200
    closed = receipt(await shop.send(opening.close()))
    assert (closed.spent, closed.refunded) == (MINIMUM + PRICE, ADDED - PRICE)
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - MINIMUM - PRICE


async def test_a_top_up_may_answer_the_challenge_that_asked_for_it(shop: Shop) -> None:
    opening = await shop.opened()
    [fresh] = parse_challenge_headers([await shop.challenge()])
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop), challenge=fresh))
    assert (answer.status_code, answer.json()["deposit"]) == (200, str(DEPOSIT + ADDED))


async def test_a_head_request_tops_up_without_a_body(shop: Shop) -> None:
    opening = await shop.opened()
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop)), "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert receipt(answer).retainer is not None
    assert (await shop.view(opening)).deposit == DEPOSIT + ADDED
    assert shop.upstream.asked == []


@pytest.mark.row(
    "F02", attack="one signed top-up submitted fifty times at once, again, and after another", twin="each credited once"
)
async def test_a_top_up_told_often_counts_once(shop: Shop) -> None:
    """F02: fifty at once, then again, then after another one; and the watcher sees it as well."""
    opening = await shop.opened()
    header = opening.topping_up(ADDED, await blockhash(shop))
    answers = await asyncio.gather(*(shop.send(header) for _ in range(50)))
    assert {(answer.status_code, answer.json()["deposit"]) for answer in answers} == {(200, str(DEPOSIT + ADDED))}
    await shop.pace.tick()
    second = opening.topping_up(ADDED + 1, await blockhash(shop))
    for told in (header, second, header, second):
        assert (await shop.send(told)).status_code == 200
    account = await shop.view(opening)
    assert account.deposit == DEPOSIT + 2 * ADDED + 1
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - account.deposit


async def test_a_top_up_that_lands_while_it_is_simulated_is_credited(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same credential at another process: what the slower one simulates has happened by then."""
    opening = await shop.opened()
    simulate = shop.chain.simulate

    async def landed_meanwhile(raw: bytes) -> SimulationResult:
        await shop.chain.send(raw)
        return await simulate(raw)

    monkeypatch.setattr(shop.chain, "simulate", landed_meanwhile)
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop)))
    assert (answer.status_code, answer.json()["deposit"]) == (200, str(DEPOSIT + ADDED))


@pytest.mark.parametrize("fate", [Fate.LANDED_UNANSWERED, Fate.LATE])
async def test_a_top_up_whose_answer_is_lost_lands_once(shop: Shop, fate: Fate) -> None:
    opening = await shop.opened()
    shop.chain.next_send(fate)
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop)))
    assert (answer.status_code, answer.json()["deposit"]) == (200, str(DEPOSIT + ADDED))


async def test_a_pending_top_up_is_told_again_with_the_same_credential(shop: Shop) -> None:
    """Until it is confirmed it counts for nothing; meanwhile the session serves what it has."""
    opening = await shop.opened()
    header = opening.topping_up(ADDED, await blockhash(shop))
    shop.chain.next_send(Fate.DROPPED)
    pending = await shop.send(header)
    assert (problem(pending).type, pending.headers["retry-after"]) == (ProblemType.DEPOSIT_UNCONFIRMED, "2")
    assert (await shop.view(opening)).deposit == DEPOSIT
    assert (await shop.use(opening)).status_code == 200
    answer = await shop.send(header)
    assert (answer.status_code, answer.json()["deposit"]) == (200, str(DEPOSIT + ADDED))


async def test_a_top_up_whose_session_just_ended_on_chain_goes_back_with_the_rest(shop: Shop) -> None:
    """The payer's own exit wins: nothing is sold for what was added, all of it is refunded."""
    opening = await shop.opened()
    header = opening.topping_up(ADDED, await blockhash(shop))
    ending = request_close(payer=AGENT.pubkey(), session=opening.action.channel_id)
    await shop.chain.send(transaction_of(header))
    await shop.chain.send(shop.agent.sign([ending], await blockhash(shop)))
    assert problem(await shop.send(header)).type == ProblemType.SESSION_CLOSING
    closed = receipt(await shop.send(opening.close()))
    assert (closed.spent, closed.refunded) == (0, DEPOSIT + ADDED)


@pytest.mark.parametrize(
    ("spoiled", "expected"),
    [
        ({"session": STRANGER.pubkey()}, ProblemType.VERIFICATION_FAILED),
        ({"program_id": STRANGER.pubkey()}, ProblemType.DEPOSIT_FOREIGN),
        ({"escrow": STRANGER.pubkey()}, ProblemType.VERIFICATION_FAILED),
        ({"mint": STRANGER.pubkey()}, ProblemType.DEPOSIT_FOREIGN),
        ({"claimed": ADDED + 1}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"amount": 0, "claimed": 0}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"amount": 100_000_000}, ProblemType.DEPOSIT_TERMS_MISMATCH),
        ({"amount": TOKENS}, ProblemType.DEPOSIT_FAILED),
        ({"blockhash": Hash.new_unique()}, ProblemType.DEPOSIT_FAILED),
    ],
)
async def test_a_top_up_that_does_not_fit_is_refused_before_money_moves(
    shop: Shop, spoiled: dict[str, Any], expected: ProblemType
) -> None:
    opening = await shop.opened()
    arguments: dict[str, Any] = {"amount": ADDED, "blockhash": await blockhash(shop), **spoiled}
    answer = await shop.send(opening.topping_up(**arguments))
    assert problem(answer).type == expected, answer.text
    assert parse_challenge_headers([answer.headers["www-authenticate"]])
    await uncredited(shop, opening)
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - DEPOSIT
    assert (await shop.send(opening.topping_up(ADDED, await blockhash(shop)))).status_code == 200


async def test_only_its_payer_adds_to_a_session(shop: Shop) -> None:
    opening = await shop.opened()
    shop.chain.fund(STRANGER.pubkey())
    gift = await mint_to(
        shop.chain,
        Keypair.from_seed(b"m" * 32),
        owner=STRANGER.pubkey(),
        mint=shop.mint,
        amount=ADDED,
        clock=shop.chain,
    )
    theirs = replace(opening, agent=STRANGER)
    answer = await shop.send(theirs.topping_up(ADDED, await blockhash(shop), payer_token=gift))
    assert problem(answer).type == ProblemType.VERIFICATION_FAILED
    await uncredited(shop, opening)


@pytest.mark.row("F03", attack="a transaction that failed on chain as top-up", twin="the session keeps what it had")
async def test_a_top_up_that_failed_on_chain_credits_nothing(shop: Shop) -> None:
    """F03."""
    opening = await shop.opened()
    header = opening.topping_up(TOKENS, await blockhash(shop))
    shop.chain.next_send(Fate.UNCHECKED)
    await shop.chain.send(transaction_of(header))
    assert problem(await shop.send(header)).type == ProblemType.DEPOSIT_FAILED
    await uncredited(shop, opening)


async def test_a_challenge_of_another_service_tops_up_nothing(shop: Shop) -> None:
    opening = await shop.opened()
    foreign = replace(opening.challenge, realm="other.test")
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop), challenge=foreign))
    assert problem(answer).type == ProblemType.INVALID_CHALLENGE
    await uncredited(shop, opening)


async def test_a_session_that_was_never_opened_here_is_not_topped_up(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop)))
    assert problem(answer).type == ProblemType.SESSION_UNKNOWN


async def test_an_unconfirmed_session_is_not_topped_up(shop: Shop) -> None:
    opening = shop.agent.open(await shop.challenge())
    shop.chain.next_send(Fate.DROPPED)
    await shop.send(opening.header)
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop)))
    assert problem(answer).type == ProblemType.DEPOSIT_UNCONFIRMED


async def test_after_its_end_has_begun_a_session_takes_no_more_money(shop: Shop) -> None:
    """C26: expired, closing at the payer's wish on chain, closed."""
    expired, leaving, closed = [await shop.opened() for _ in range(3)]
    assert (await shop.send(closed.close())).status_code == 200
    ending = request_close(payer=AGENT.pubkey(), session=leaving.action.channel_id)
    await shop.chain.send(shop.agent.sign([ending], await blockhash(shop)))
    # The chain refuses what the service has not seen yet.
    await refused(shop, leaving, ProblemType.DEPOSIT_FAILED)
    await refused(shop, closed, ProblemType.SESSION_CLOSED)
    record = await shop.ledger.session(str(expired.action.channel_id))
    assert record is not None
    shop.chain.advance(seconds=record.expires_at - shop.clock.now())
    await refused(shop, expired, ProblemType.SESSION_EXPIRED)
    await shop.pace.tick()
    ended = await shop.send(leaving.topping_up(ADDED, await blockhash(shop)))
    assert problem(ended).type in {ProblemType.SESSION_CLOSING, ProblemType.SESSION_CLOSED}


async def refused(shop: Shop, opening: Opening, expected: ProblemType) -> None:
    before = await shop.ledger.session(str(opening.action.channel_id))
    answer = await shop.send(opening.topping_up(ADDED, await blockhash(shop)))
    assert problem(answer).type == expected, answer.text
    after = await shop.ledger.session(str(opening.action.channel_id))
    assert before is not None
    assert after is not None
    assert after.deposit == before.deposit


async def test_the_sessions_own_offer_sets_the_most_it_may_hold(shop: Shop) -> None:
    opening = await shop.opened()
    authority = Keypair.from_seed(b"m" * 32)
    await mint_to(shop.chain, authority, owner=AGENT.pubkey(), mint=shop.mint, amount=10**9, clock=shop.chain)
    too_much = await shop.send(opening.topping_up(100_000_000 - DEPOSIT + 1, await blockhash(shop)))
    assert problem(too_much).type == ProblemType.DEPOSIT_TERMS_MISMATCH
    most = await shop.send(opening.topping_up(100_000_000 - DEPOSIT, await blockhash(shop)))
    assert most.json()["deposit"] == "100000000"
