"""A request that names its session is asked to resume it, and one that cannot be resumed to open another."""

from dataclasses import replace
from typing import Any

import pytest

from retainer.protocol.challenges import Challenge, parse_challenge_headers
from retainer.protocol.problems import ProblemType
from tests.integration.conftest import Shop, problem, receipt
from tests.shop import MINIMUM, PRICE, Opening


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any]) -> dict[str, Any]:
    raw_settings["offers"]["standard"]["voucher_signer"] = "client"
    raw_settings["offers"]["standard"]["idle_timeout_options"] = [600]
    return raw_settings


async def hinted(shop: Shop, session: str) -> Challenge:
    """The challenge of a first request that names a session."""
    answer = await shop.http.get("/paid/x", headers={"Payment-Session": session})
    assert problem(answer).type == ProblemType.PAYMENT_REQUIRED
    [challenge] = parse_challenge_headers([answer.headers["www-authenticate"]])
    return challenge


async def chosen(shop: Shop) -> Opening:
    """A session with a timeout of its own choice."""
    opening = shop.agent.open(await shop.challenge()).claiming(idle_timeout_seconds=600)
    assert (await shop.send(opening.header)).status_code == 200
    return opening


async def test_a_session_that_can_pay_is_resumed_on_its_own_terms(shop: Shop) -> None:
    opening = await chosen(shop)
    challenge = await hinted(shop, str(opening.action.channel_id))
    request = challenge.session_request()
    assert (request.channel_id, request.idle_timeout_seconds) == (opening.action.channel_id, 600)
    assert (request.recent_blockhash, request.recent_slot, request.idle_timeout_options) == (None, None, None)
    assert request.amount == PRICE
    first = opening.challenge.session_request()
    assert request.retainer == first.retainer
    resumed = replace(opening, challenge=challenge)
    assert receipt(await shop.send(resumed.paying(PRICE))).spent == PRICE


async def test_a_resuming_challenge_opens_nothing(shop: Shop) -> None:
    opening = await chosen(shop)
    challenge = await hinted(shop, str(opening.action.channel_id))
    fresh = shop.agent.open(await shop.challenge())
    answer = await shop.send(
        Opening(agent=fresh.agent, challenge=challenge, params=fresh.params, action=fresh.action).header
    )
    assert problem(answer).type == ProblemType.CHALLENGE_EXPIRED


async def test_what_cannot_be_resumed_is_asked_to_open(shop: Shop) -> None:
    depleted = await shop.opened(deposit=MINIMUM)
    for number in range(1, 11):
        assert (await shop.send(depleted.paying(number * PRICE))).status_code == 200
    closed = await shop.opened()
    assert (await shop.send(closed.closing(PRICE))).status_code == 200
    unknown = shop.agent.open(await shop.challenge())
    for session in (*(str(one.action.channel_id) for one in (depleted, closed, unknown)), "no session", ""):
        request = (await hinted(shop, session)).session_request()
        assert request.channel_id is None
        assert request.recent_blockhash is not None
