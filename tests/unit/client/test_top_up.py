"""Adding to a deposit: within the caps, once, and by policy without the caller noticing."""

import asyncio
from pathlib import Path

import httpx
import pytest

from retainer.errors import CapError, SessionError, TopUpRefusedError, TopUpUnconfirmedError
from retainer.protocol.actions import TopUpAction, UseAction
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.errors import AmountError
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.stores import create_sqlite_channel_store
from retainer.trust.caps import SpendingCaps, TopUpPolicy
from tests.unit.client.conftest import Stage
from tests.unit.client.service import PRICE, URL


async def test_a_depleted_session_goes_on_after_a_top_up(stage: Stage) -> None:
    session = await stage.client.create_session(URL, 2 * PRICE)
    for _ in range(2):
        assert (await stage.client.request("GET", URL)).status_code == 200
    assert (await stage.client.get_session(session.session_id)).state is SessionState.DEPLETED
    topped = await stage.client.top_up(session.session_id, 3 * PRICE)
    assert (topped.session_id, topped.deposit, topped.remaining) == (session.session_id, 5 * PRICE, 3 * PRICE)
    assert topped.state is SessionState.ACTIVE
    assert (await stage.client.request("GET", URL)).status_code == 200
    closed = await stage.client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (3 * PRICE, 2 * PRICE)
    assert await stage.agent_tokens() == 10_000_000 - 3 * PRICE


@pytest.mark.parametrize(
    ("caps", "amount"),
    [
        (SpendingCaps(per_session="1.0"), "0.5"),
        (SpendingCaps(per_day="1.0"), "0.5"),
        (SpendingCaps(), "9.5"),
        (SpendingCaps(), 0),
    ],
    ids=["above the session's cap", "above the day's cap", "more than there is", "nothing"],
)
async def test_what_the_caps_forbid_is_not_signed(stage: Stage, caps: SpendingCaps, amount: str | int) -> None:
    async with stage.another(caps) as client:
        session = await client.create_session(URL, "0.9")
        with pytest.raises(CapError, match="nothing was signed"):
            await client.top_up(session.session_id, amount)
        assert (await client.get_session(session.session_id)).deposit == 900_000
    assert stage.service.topped_up == 0


async def test_an_amount_that_is_none_is_refused(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "0.5")
    with pytest.raises(AmountError):
        await stage.client.top_up(session.session_id, "-0.1")


async def test_a_session_that_is_being_left_takes_no_more(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "0.5")
    await stage.client.request_close(session.session_id)
    with pytest.raises(SessionError, match="open another"):
        await stage.client.top_up(session.session_id, "0.1")


async def test_an_interrupted_top_up_is_taken_up_again_and_adds_once(stage: Stage, tmp_path: Path) -> None:
    """The answers are lost, the process ends, and the next one finds what was signed."""
    path = tmp_path / "sessions.sqlite"
    credentials = []

    async def lose(request: httpx.Request) -> httpx.Response | None:
        credentials.append(request.headers["Authorization"])
        raise httpx.ReadError("the connection broke", request=request)

    async with stage.another(store=create_sqlite_channel_store(path)) as first:
        session = (await first.create_session(URL, "0.5")).session_id
        stage.service.before = lose
        with pytest.raises(TopUpUnconfirmedError):
            await first.top_up(session, "0.1")
    stage.service.before = None
    async with stage.another(store=create_sqlite_channel_store(path)) as second:
        assert (await second.top_up(session, "0.1")).deposit == 600_000
        assert (await second.top_up(session, "0.1")).deposit == 700_000
    assert len(set(credentials)) == 1
    assert stage.service.topped_up == 2
    assert await stage.agent_tokens() == 9_300_000


async def refused_by(stage: Stage, problem: ProblemType | None) -> httpx.Response:
    """A refusal of the service's, or without a problem one of whatever stands between."""
    return httpx.Response(413, text="too large") if problem is None else await stage.service.refuse(problem)


@pytest.mark.parametrize("problem", [ProblemType.DEPOSIT_TERMS_MISMATCH, None])
async def test_a_refused_top_up_that_can_still_land_is_not_signed_twice(
    stage: Stage, problem: ProblemType | None
) -> None:
    session = (await stage.client.create_session(URL, "0.5")).session_id

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return await refused_by(stage, problem)

    stage.service.before = refuse
    with pytest.raises(TopUpUnconfirmedError, match=r"refused it: .*No second one") as unconfirmed:
        await stage.client.top_up(session, "0.1")
    assert unconfirmed.value.refused
    stage.service.before = None
    assert (await stage.client.top_up(session, "0.2")).deposit == 600_000, "the first is taken up again"


@pytest.mark.parametrize("problem", [ProblemType.DEPOSIT_TERMS_MISMATCH, None])
async def test_a_session_that_takes_no_top_up_is_left_for_another(stage: Stage, problem: ProblemType | None) -> None:
    """Whoever refused it, in whatever words: waiting for it would end the requests."""

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        shown = request.headers.get("Authorization", "")
        topping_up = shown and isinstance(parse_authorization(shown).action, TopUpAction)
        return await refused_by(stage, problem) if topping_up else None

    stage.service.before = refuse
    async with stage.another(top_up=TopUpPolicy(below=2 * PRICE, amount=10 * PRICE), deposit=5 * PRICE) as client:
        for _ in range(8):
            assert (await client.request("GET", URL)).is_success
    assert (stage.service.opened, stage.service.topped_up) == (2, 0)


async def test_a_top_up_on_chain_that_the_service_denies_is_said(stage: Stage) -> None:
    session = (await stage.client.create_session(URL, "0.5")).session_id

    async def deny(request: httpx.Request) -> httpx.Response | None:
        stage.service.before = None
        await stage.service(request)
        return await stage.service.refuse(ProblemType.DEPOSIT_FAILED)

    stage.service.before = deny
    with pytest.raises(TopUpRefusedError, match="does not count it"):
        await stage.client.top_up(session, "0.1")
    assert (await stage.client.get_session(session)).deposit == 600_000
    assert (await stage.client.close_session(session)).refunded == 600_000


async def test_sessions_are_topped_up_by_policy_without_the_caller_noticing(stage: Stage) -> None:
    policy = TopUpPolicy(below=2 * PRICE, amount=10 * PRICE)
    async with stage.another(top_up=policy, deposit=10 * PRICE) as client:
        for number in range(1, 41):
            response = await client.request("GET", URL)
            assert response.extensions["retainer"].retainer.metered.sequence == number
        (session,) = await client.sessions()
        assert (session.deposit, session.spent) == (50 * PRICE, 40 * PRICE)
    assert (stage.service.opened, stage.service.topped_up) == (1, 4)


async def test_requests_at_once_share_a_top_up(stage: Stage) -> None:
    policy = TopUpPolicy(below=10 * PRICE, amount=20 * PRICE)
    async with stage.another(top_up=policy) as client:
        await client.create_session(URL, 9 * PRICE)
        responses = await asyncio.gather(*(client.request("GET", URL) for _ in range(8)))
        assert {response.status_code for response in responses} == {200}
    assert stage.service.topped_up == 1


async def test_a_burst_cannot_outrun_the_top_ups(stage: Stage) -> None:
    """Four times what the deposit holds, and more than any one top-up adds: nobody sees a 402."""
    policy = TopUpPolicy(below=2 * PRICE, amount=10 * PRICE)
    async with stage.another(top_up=policy) as client:
        await client.create_session(URL, 10 * PRICE)
        responses = await asyncio.gather(*(client.request("GET", URL) for _ in range(40)))
        assert {response.status_code for response in responses} == {200}
        [session] = await client.sessions()
        assert session.spent == 40 * PRICE
    assert (stage.service.opened, stage.service.topped_up) == (1, 4)


async def test_a_service_that_calls_an_unspent_deposit_spent_gets_no_more(stage: Stage) -> None:
    """The client's own books say when more is due, not the one who would hold it."""

    async def deplete(request: httpx.Request) -> httpx.Response | None:
        used = isinstance(parse_authorization(request.headers["Authorization"]).action, UseAction)
        return await stage.service.refuse(ProblemType.SESSION_DEPLETED) if used else None

    policy = TopUpPolicy(below=PRICE, amount=PRICE)
    async with stage.another(top_up=policy) as client:
        await client.create_session(URL, 2 * PRICE)
        stage.service.before = deplete
        assert (await client.request("GET", URL)).status_code == 402
    assert stage.service.topped_up == 0


async def test_an_answered_key_is_replayed_from_a_spent_session_whatever_the_caps_say(stage: Stage) -> None:
    policy = TopUpPolicy(below=PRICE, amount=PRICE)
    async with stage.another(SpendingCaps(per_session=PRICE), top_up=policy) as client:
        await client.create_session(URL, PRICE)
        first = await client.request("GET", URL, idempotency_key="mine")
        again = await client.request("GET", URL, idempotency_key="mine")
        assert (again.status_code, again.content) == (200, first.content)
        with pytest.raises(CapError, match="per session"):
            await client.request("GET", URL, idempotency_key="another")
        [session] = await client.sessions()
        assert session.spent == PRICE
    assert stage.service.topped_up == 0


async def test_a_replay_moves_no_money_where_a_top_up_would_be_allowed(stage: Stage) -> None:
    policy = TopUpPolicy(below=PRICE, amount=PRICE)
    async with stage.another(top_up=policy) as client:
        await client.create_session(URL, PRICE)
        for _ in range(2):
            assert (await client.request("GET", URL, idempotency_key="mine")).status_code == 200
        assert stage.service.topped_up == 0
        assert (await client.request("GET", URL, idempotency_key="another")).status_code == 200
    assert stage.service.topped_up == 1


async def test_a_top_up_beyond_the_caps_stops_only_what_cannot_be_paid(stage: Stage) -> None:
    policy = TopUpPolicy(below=2 * PRICE, amount=PRICE)
    async with stage.another(SpendingCaps(per_session=2 * PRICE), top_up=policy) as client:
        await client.create_session(URL, 2 * PRICE)
        for _ in range(2):
            assert (await client.request("GET", URL)).status_code == 200
        with pytest.raises(CapError, match="per session"):
            await client.request("GET", URL)
    assert stage.service.topped_up == 0


async def test_a_request_that_is_asked_again_needs_no_second_price(stage: Stage) -> None:
    """The last of the deposit pays for it, whatever the caps say about more."""
    policy = TopUpPolicy(below=PRICE, amount=PRICE)
    async with stage.another(SpendingCaps(per_session=PRICE), top_up=policy, deposit=PRICE) as client:
        await client.create_session(URL, PRICE)
        broken = 1

        async def lose_once(request: httpx.Request) -> httpx.Response | None:
            nonlocal broken
            if broken:
                broken -= 1
                raise httpx.ReadError("the connection broke", request=request)
            return None

        stage.service.before = lose_once
        assert (await client.request("GET", URL)).status_code == 200
