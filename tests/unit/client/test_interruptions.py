"""Lost answers, lost connections and cancellations: nothing is paid twice, and nothing is forgotten."""

import asyncio

import httpx
import pytest

from retainer.chain.errors import ChainUnavailableError, TransactionRefusedError
from retainer.chain.fake import Fate
from retainer.errors import CloseRefusedError, CloseUnconfirmedError, OpeningRefusedError, OpeningUnconfirmedError
from retainer.flows.opener import Submit
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from tests.unit.client.conftest import Stage
from tests.unit.client.service import PRICE, URL


class Trouble:
    """Answers the next `times` credentials of one kind only after the service has done its part, or not at all."""

    def __init__(self, stage: Stage, times: int, *, served: bool = True, paying: bool = True) -> None:
        self.stage, self.times, self.served, self.paying = stage, times, served, paying
        self.keys: list[str | None] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response | None:
        if "Authorization" not in request.headers or ("Idempotency-Key" in request.headers) is not self.paying:
            return None
        self.keys.append(request.headers.get("Idempotency-Key"))
        if len(self.keys) > self.times:
            return None
        if self.served:
            self.stage.service.before = None
            await self.stage.service(request)
            self.stage.service.before = self
        raise httpx.ReadError("the connection broke", request=request)


@pytest.mark.parametrize("served", [True, False], ids=["answer lost", "request lost"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_retry_keeps_its_key_and_is_charged_once(stage: Stage, method: str, *, served: bool) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stage.service.before = trouble = Trouble(stage, 2, served=served)
    response = await stage.client.request(method, URL, content=b"question" if method == "POST" else None)
    assert response.status_code == 200
    assert (len(trouble.keys), len(set(trouble.keys))) == (3, 1)
    assert (await stage.client.get_session(session.session_id)).spent == PRICE


async def test_a_request_can_be_repeated_under_its_key(stage: Stage) -> None:
    first = await stage.client.request("GET", URL, idempotency_key="question-1")
    again = await stage.client.request("GET", URL, idempotency_key="question-1")
    assert first.extensions["retainer"] == again.extensions["retainer"]
    (session,) = await stage.client.sessions()
    assert (session.spent, session.requests_made) == (PRICE, 1)


async def test_a_connection_that_stays_broken_is_reported_and_may_have_been_charged(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stage.service.before = Trouble(stage, 3)
    with pytest.raises(httpx.ReadError):
        await stage.client.request("GET", URL)
    response = await stage.client.request("GET", URL, params={"another": "question"})
    assert response.extensions["retainer"].spent == 2 * PRICE, "the books leave room for the lost one"
    closed = await stage.client.close_session(session.session_id)
    assert closed.settled == 2 * PRICE


async def test_an_unpaid_post_is_not_repeated(stage: Stage) -> None:
    """Without a session nothing at the other end remembers the key, so a repetition could do the work twice."""
    posts = 0

    async def broken(request: httpx.Request) -> httpx.Response | None:
        nonlocal posts
        posts += 1
        raise httpx.ReadError("the connection broke", request=request)

    stage.service.before = broken
    with pytest.raises(httpx.ReadError):
        await stage.client.request("POST", URL)
    assert posts == 1


async def test_a_request_in_flight_is_waited_for_under_its_key(stage: Stage) -> None:
    await stage.client.create_session(URL, "1.0")
    keys: list[str] = []

    async def running(request: httpx.Request) -> httpx.Response | None:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            return await stage.service.refuse(ProblemType.REQUEST_IN_FLIGHT, 409, {"Retry-After": "1"})
        return None

    stage.service.before = running
    before = stage.chain.monotonic()
    assert (await stage.client.request("GET", URL)).status_code == 200
    assert (len(keys), len(set(keys))) == (3, 1)
    assert stage.chain.monotonic() - before >= 2


async def test_a_request_that_was_still_running_may_be_billed_later(stage: Stage) -> None:
    await stage.client.create_session(URL, "1.0")

    async def running(request: httpx.Request) -> httpx.Response | None:
        stage.service.before = None
        await stage.service(request)
        stage.service.before = running
        return await stage.service.refuse(ProblemType.REQUEST_IN_FLIGHT, 409)

    stage.service.before = running
    assert (await stage.client.request("GET", URL)).status_code == 409
    stage.service.before = None
    other = await stage.client.request("GET", URL, params={"another": "question"})
    assert other.extensions["retainer"].spent == 2 * PRICE


async def test_an_opening_whose_answer_is_lost_is_repeated_and_deposits_once(stage: Stage) -> None:
    stage.service.before = Trouble(stage, 2, paying=False)
    await stage.client.create_session(URL, "1.0")
    assert (stage.service.opened, await stage.agent_tokens()) == (1, 9_000_000)


async def test_an_opening_that_nobody_answers_is_taken_up_by_the_next_request(stage: Stage) -> None:
    stage.service.before = Trouble(stage, 3, paying=False)
    with pytest.raises(OpeningUnconfirmedError, match="No second deposit") as pending:
        await stage.client.create_session(URL, "1.0")
    view = await stage.client.get_session(pending.value.session_id)
    assert (view.state, await stage.agent_tokens()) == (SessionState.PENDING, 9_000_000)
    assert (await stage.client.request("GET", URL)).status_code == 200
    (session,) = await stage.client.sessions()
    assert session.session_id == pending.value.session_id
    assert (stage.service.opened, await stage.agent_tokens()) == (1, 9_000_000)


async def test_a_pending_session_is_opened_before_it_is_closed(stage: Stage) -> None:
    stage.service.before = Trouble(stage, 3, served=False, paying=False)
    with pytest.raises(OpeningUnconfirmedError) as pending:
        await stage.client.create_session(URL, "1.0")
    assert (await stage.client.close_session(pending.value.session_id)).refunded == 1_000_000


async def test_a_cancelled_opening_is_taken_up_by_the_next_request(stage: Stage) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def hanging(request: httpx.Request) -> httpx.Response | None:
        if "Authorization" in request.headers and not reached.is_set():
            stage.service.before = None
            await stage.service(request)
            reached.set()
            await never.wait()
        return None

    stage.service.before = hanging
    task = asyncio.create_task(stage.client.request("GET", URL))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await stage.client.request("GET", URL)).status_code == 200
    assert (stage.service.opened, await stage.agent_tokens()) == (1, 9_000_000)


async def test_a_cancelled_request_leaves_the_session_usable(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    reached, never = asyncio.Event(), asyncio.Event()

    async def hanging(request: httpx.Request) -> httpx.Response | None:
        stage.service.before = None
        await stage.service(request)
        reached.set()
        await never.wait()
        return None

    stage.service.before = hanging
    task = asyncio.create_task(stage.client.request("GET", URL))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(3):
        assert (await stage.client.request("GET", URL, params={"another": "question"})).status_code == 200
    closed = await stage.client.close_session(session.session_id)
    assert (closed.settled, closed.view.requests_made) == (4 * PRICE, 3)


async def test_without_a_chain_to_check_against_nothing_is_signed(stage: Stage) -> None:
    challenge = await stage.service.challenge()

    async def offering(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(402, headers={"WWW-Authenticate": challenge})

    stage.service.before = offering
    stage.chain.down = True
    with pytest.raises(ChainUnavailableError):
        await stage.client.request("GET", URL)
    assert all("Authorization" not in request.headers for request in stage.service.seen)


@pytest.mark.parametrize("fate", [Fate.LANDED_UNANSWERED, Fate.LATE])
async def test_a_self_sent_deposit_of_unknown_outcome_is_looked_for(stage: Stage, fate: Fate) -> None:
    stage.chain.next_send(fate)
    session = await stage.client.create_session(URL, "1.0", submit=Submit.SELF)
    assert (session.state, await stage.agent_tokens()) == (SessionState.ACTIVE, 9_000_000)


async def test_a_self_sent_deposit_that_got_lost_is_sent_again_as_it_was(stage: Stage) -> None:
    stage.chain.next_send(Fate.LOST_UNANSWERED)
    with pytest.raises(OpeningUnconfirmedError) as pending:
        await stage.client.create_session(URL, "1.0", submit=Submit.SELF)
    stage.chain.next_send(Fate.REFUSED)
    with pytest.raises(OpeningRefusedError, match="Nothing was deposited"):
        await stage.client.request("GET", URL)
    sent = [s for s in stage.chain.sent if s == stage.chain.sent[-1]]
    assert len(sent) == 2, "the same bytes both times"
    assert (await stage.client.get_session(pending.value.session_id)).state is SessionState.ABANDONED


@pytest.mark.parametrize("fate", [Fate.REFUSED, Fate.FAILED])
async def test_a_self_sent_deposit_that_fails_is_abandoned(stage: Stage, fate: Fate) -> None:
    stage.chain.next_send(fate, number=6152)
    with pytest.raises(OpeningRefusedError, match="Nothing was deposited") as refused:
        await stage.client.create_session(URL, "1.0", submit=Submit.SELF)
    assert await stage.agent_tokens() == 10_000_000
    with pytest.raises(CloseRefusedError, match="never opened"):
        await stage.client.close_session(refused.value.session_id)


async def test_a_self_sent_deposit_that_landed_before_its_blockhash_died_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node refuses the old bytes then, and the account is there all the same."""
    stage.service.before = Trouble(stage, 3, paying=False)
    with pytest.raises(OpeningUnconfirmedError):
        await stage.client.create_session(URL, "1.0", submit=Submit.SELF)

    async def forgotten(raw: bytes) -> str:
        raise TransactionRefusedError('"BlockhashNotFound"')

    monkeypatch.setattr(stage.chain, "send", forgotten)
    assert (await stage.client.request("GET", URL)).status_code == 200
    assert stage.service.opened == 1


async def test_a_retry_shows_no_proof_of_a_session_that_ended_meanwhile(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")

    async def ending(request: httpx.Request) -> httpx.Response | None:
        stage.service.before = None
        channel = await stage.store.find(stage.agent.pubkey(), session.session_id)
        assert channel is not None
        await stage.store.set(channel.scope, channel.closing())
        raise httpx.ReadError("the connection broke", request=request)

    stage.service.before = ending
    assert (await stage.client.request("GET", URL)).status_code == 200
    _, retry, *_ = [request for request in stage.service.seen if "Idempotency-Key" in request.headers]
    assert "Authorization" not in retry.headers
    assert stage.service.opened == 2


async def test_a_close_that_takes_its_time_is_asked_about_again(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    asked = 0

    async def busy(request: httpx.Request) -> httpx.Response | None:
        nonlocal asked
        asked += 1
        return httpx.Response(202, json={"state": "closing"}) if asked < 4 else None

    stage.service.before = busy
    assert (await stage.client.close_session(session.session_id)).refunded == 1_000_000
    assert asked == 4


async def test_a_close_whose_answer_is_lost_is_found_on_chain(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stage.service.before = Trouble(stage, 1, paying=False)
    assert (await stage.client.close_session(session.session_id)).refunded == 1_000_000


async def test_a_session_that_the_service_closed_by_itself_is_read_from_the_chain(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    await stage.client.request("GET", URL)
    await close_behind_the_clients_back(stage)
    view = await stage.client.get_session(session.session_id)
    assert (view.state, view.settled, view.refund) == (SessionState.REFUNDED, PRICE, 1_000_000 - PRICE)
    assert (await stage.client.close_session(session.session_id)).signature == view.settlement_signature


async def close_behind_the_clients_back(stage: Stage) -> None:
    """What a sweeper does with a session that expired or fell idle."""
    (channel,) = await stage.store.channels(stage.agent.pubkey())
    await stage.service(httpx.Request("GET", URL, headers={"Authorization": channel.close_header()}))


async def test_a_service_that_does_not_answer_can_be_asked_to_close_again(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stage.service.before = Trouble(stage, 3, served=False, paying=False)
    with pytest.raises(CloseUnconfirmedError, match="can be withdrawn without it"):
        await stage.client.close_session(session.session_id)
    assert (await stage.client.get_session(session.session_id)).state is SessionState.CLOSING
    assert (await stage.client.close_session(session.session_id)).refunded == 1_000_000


async def test_a_service_that_forgot_the_session_is_no_reason_to_wait(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0")
    stage.service.sessions.clear()
    with pytest.raises(CloseRefusedError, match="can be withdrawn without it"):
        await stage.client.close_session(session.session_id)
