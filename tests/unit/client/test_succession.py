"""A session that can neither pay nor be topped up is closed, and another one pays: once, and within the caps."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest

from retainer.errors import CapError, CloseRefusedError, TopUpRefusedError, TopUpUnconfirmedError
from retainer.protocol.actions import CloseAction, TopUpAction
from retainer.protocol.amounts import base_units
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.trust.caps import SpendingCaps, TopUpPolicy
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, PRICE, URL

POLICY = TopUpPolicy(below=PRICE, amount=2 * PRICE)
Before = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


def refusing(stage: Stage, *actions: type) -> Before:
    """A service that takes none of these."""

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        told = request.headers.get("Authorization", "")
        if told.startswith("Payment ") and isinstance(parse_authorization(told).action, actions):
            return await stage.service.refuse(ProblemType.DEPOSIT_TERMS_MISMATCH)
        return None

    return refuse


async def test_where_no_top_up_is_taken_another_session_pays(stage: Stage) -> None:
    stage.service.before = refusing(stage, TopUpAction)
    async with stage.another(top_up=POLICY, deposit=2 * PRICE) as client:
        for _ in range(7):
            assert (await client.request("GET", URL)).status_code == 200
        states = [(session.state, session.spent, session.refund) for session in await client.sessions()]
    assert states == [(SessionState.REFUNDED, 2 * PRICE, 0)] * 3 + [(SessionState.ACTIVE, PRICE, None)]
    assert (stage.service.opened, stage.service.topped_up) == (4, 0)
    assert await stage.agent_tokens() == 10_000_000 - 8 * PRICE


async def test_the_refund_comes_before_the_next_deposit(stage: Stage) -> None:
    """There are tokens for one deposit only."""
    stage.service.before = refusing(stage, TopUpAction)
    caps = SpendingCaps(per_session="10.0")
    async with stage.another(caps, top_up=TopUpPolicy(below=PRICE, amount="0.1"), deposit="6.0") as client:
        session = await client.create_session(URL, PRICE + 1)
        assert (await client.request("GET", URL)).status_code == 200
        assert (await client.request("GET", URL)).status_code == 200
        old, new = await client.sessions()
        assert (old.session_id, old.refund, new.deposit) == (session.session_id, 1, 6_000_000)


async def test_a_session_opened_by_hand_is_succeeded_with_what_would_have_been_added(stage: Stage) -> None:
    stage.service.before = refusing(stage, TopUpAction)
    async with stage.another(SpendingCaps(), top_up=POLICY) as client:
        await client.create_session(URL, PRICE)
        for _ in range(2):
            assert (await client.request("GET", URL)).status_code == 200
        assert [session.deposit for session in await client.sessions()] == [PRICE, 2 * PRICE]


async def test_a_session_near_its_expiry_gets_no_more(stage: Stage) -> None:
    now = [NOW]
    async with stage.another(top_up=POLICY, deposit=PRICE, now=lambda: now[0]) as client:
        assert (await client.request("GET", URL)).status_code == 200
        now[0] += 3600 - 60
        [session] = await client.sessions()
        with pytest.raises(TopUpRefusedError, match="expires in 60 s, before a top-up is sure to land"):
            await client.top_up(session.session_id, PRICE)
        stage.service.offer = lambda request: replace(
            request, retainer=replace(stage.service.retainer_terms(), expires_at=NOW + 7200)
        )
        assert (await client.request("GET", URL)).status_code == 200
        assert [one.state for one in await client.sessions()] == [SessionState.REFUNDED, SessionState.DEPLETED]
    assert stage.service.topped_up == 0


async def test_the_payers_own_exit_is_no_obstacle(stage: Stage) -> None:
    """From another machine, so that these records do not know: the program takes no top-up, and the next one pays."""
    async with stage.another(top_up=POLICY, deposit=PRICE) as client, stage.another() as elsewhere:
        assert (await client.request("GET", URL)).status_code == 200
        [session] = await client.sessions()
        await elsewhere.request_close(session.session_id)
        assert (await client.request("GET", URL)).status_code == 200
    assert (stage.service.opened, stage.service.topped_up) == (2, 0)


async def test_a_dearer_offer_is_not_taken_against_the_caps(stage: Stage) -> None:
    async with stage.another(SpendingCaps(per_request=PRICE), top_up=POLICY, deposit=PRICE) as client:
        assert (await client.request("GET", URL)).status_code == 200
        stage.service.before = refusing(stage, TopUpAction)
        stage.service.offer = lambda request: replace(
            request,
            amount=base_units(2 * PRICE),
            retainer=replace(stage.service.retainer_terms(), price=base_units(2 * PRICE)),
        )
        with pytest.raises(CapError, match="per request"):
            await client.request("GET", URL)
        [session] = await client.sessions()
        assert (session.state, session.refund) == (SessionState.REFUNDED, 0)
    assert stage.service.opened == 1


async def test_a_caller_who_named_the_session_is_told(stage: Stage) -> None:
    stage.service.before = refusing(stage, TopUpAction)
    async with stage.another(top_up=POLICY) as client:
        session = (await client.create_session(URL, PRICE)).session_id
        assert (await client.request("GET", URL, session=session)).status_code == 200
        with pytest.raises((TopUpRefusedError, TopUpUnconfirmedError), match=session):
            await client.request("GET", URL, session=session)
        assert [one.session_id for one in await client.sessions()] == [session]
    assert stage.service.opened == 1


async def test_a_top_up_that_nobody_answers_is_waited_for(stage: Stage) -> None:
    async def lose(request: httpx.Request) -> httpx.Response | None:
        told = request.headers.get("Authorization", "")
        if told and isinstance(parse_authorization(told).action, TopUpAction):
            raise httpx.ReadError("the connection broke", request=request)
        return None

    stage.service.before = lose
    async with stage.another(top_up=POLICY, deposit=PRICE) as client:
        assert (await client.request("GET", URL)).status_code == 200
        with pytest.raises(TopUpUnconfirmedError, match="No second one is made"):
            await client.request("GET", URL)
        stage.service.before = None
        assert (await client.request("GET", URL)).status_code == 200
    assert (stage.service.opened, stage.service.topped_up) == (1, 1)


async def test_a_service_that_does_not_settle_gets_no_second_deposit(stage: Stage) -> None:
    stage.service.before = refusing(stage, TopUpAction, CloseAction)
    async with stage.another(top_up=POLICY, deposit=PRICE) as client:
        assert (await client.request("GET", URL)).status_code == 200
        with pytest.raises(CloseRefusedError, match="withdrawn without it"):
            await client.request("GET", URL)
    assert stage.service.opened == 1


async def test_one_request_opens_one_more_session_at_most(stage: Stage) -> None:
    """A service that calls each new session unknown is not followed."""
    stage.service.before = refusing(stage, TopUpAction)
    async with stage.another(top_up=POLICY, deposit=PRICE) as client:
        assert (await client.request("GET", URL)).status_code == 200
        refuse = stage.service.before

        async def forget(request: httpx.Request) -> httpx.Response | None:
            told = request.headers.get("Authorization", "")
            if told and "payment-session" in request.headers:
                return await stage.service.refuse(ProblemType.SESSION_UNKNOWN)
            return await refuse(request)

        stage.service.before = forget
        assert (await client.request("GET", URL)).status_code == 402
    assert stage.service.opened == 2


async def test_requests_at_once_share_the_successor(stage: Stage) -> None:
    stage.service.before = refusing(stage, TopUpAction)
    async with stage.another(top_up=POLICY, deposit=20 * PRICE) as client:
        await client.create_session(URL, PRICE)
        assert (await client.request("GET", URL)).status_code == 200
        answers = await asyncio.gather(*(client.request("GET", f"{URL}?q={n}") for n in range(12)))
        assert {answer.status_code for answer in answers} == {200}
        old, new = await client.sessions()
        assert (old.spent, new.spent) == (PRICE, 12 * PRICE)
    assert stage.service.opened == 2
