"""Sessions by hand and by themselves, against an honest service."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.errors import CapError, ClientError, OfferError
from retainer.flows.opener import Submit
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.offers import SessionRequest
from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import SessionState
from retainer.session_client import SessionClient
from retainer.trust.caps import SpendingCaps
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, PRICE, URL


async def test_fund_once_ask_many(stage: Stage) -> None:
    session = await stage.client.create_session(URL, deposit_amount="1.0")
    assert (session.deposit, session.state, session.requests_left) == (1_000_000, SessionState.ACTIVE, 125)
    assert await stage.agent_tokens() == 9_000_000
    for number in range(1, 31):
        response = await stage.client.request("GET", URL, params={"q": str(number)})
        assert response.json() == {"answer": 42}
        receipt = response.extensions["retainer"]
        assert isinstance(receipt, Receipt)
        assert receipt.spent == number * PRICE
    assert await stage.client.receipt(session.session_id) == receipt
    view = await stage.client.get_session(session.session_id)
    assert (view.spent, view.remaining, view.requests_made, view.requests_left) == (240_000, 760_000, 30, 95)
    closed = await stage.client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (240_000, 760_000)
    assert await stage.agent_tokens() == 9_760_000
    assert await stage.service_tokens() == 240_000
    view = await stage.client.get_session(session.session_id)
    assert (view.state, view.refund, view.settlement_signature) == (SessionState.REFUNDED, 760_000, closed.signature)
    assert (view.remaining, view.requests_left) == (0, 0)
    assert await stage.client.close_session(session.session_id) == closed


async def test_an_httpx_client_pays_by_itself(stage: Stage) -> None:
    async with stage.http(auth=stage.client.auth) as http:
        first = await http.get(URL)
        second = await http.post(URL, json={"question": "and now?"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.extensions["retainer"].spent == 2 * PRICE
    assert stage.service.opened == 1


async def test_the_deposit_that_opens_by_itself_is_what_the_caller_names(stage: Stage) -> None:
    async with stage.another(deposit="0.5") as client:
        await client.request("GET", URL)
        (session,) = await client.sessions()
    assert session.deposit == 500_000


async def test_a_suggested_deposit_above_the_cap_is_cut_to_the_cap(stage: Stage) -> None:
    async with stage.another(SpendingCaps(per_session="0.25")) as client:
        await client.request("GET", URL)
        (session,) = await client.sessions()
    assert session.deposit == 250_000


async def test_nothing_opens_by_itself_without_a_cap_or_a_deposit(stage: Stage) -> None:
    async with stage.another(SpendingCaps()) as client:
        with pytest.raises(CapError, match="how much it may hold"):
            await client.request("GET", URL)
        session = await client.create_session(URL, "0.1")
        assert (await client.request("GET", URL)).status_code == 200
    assert session.deposit == 100_000


async def test_concurrent_requests_open_exactly_one_session(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = stage.chain.accounts

    async def over_a_network(*wanted: object, **options: object) -> object:
        await asyncio.sleep(0.01)
        return await accounts(*wanted, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(stage.chain, "accounts", over_a_network)
    responses = await asyncio.gather(*(stage.client.request("GET", URL, params={"n": n}) for n in range(20)))
    assert {response.status_code for response in responses} == {200}
    assert stage.service.opened == 1
    (session,) = await stage.client.sessions()
    assert (session.requests_made, session.spent) == (20, 20 * PRICE)
    last = await stage.client.receipt(session.session_id)
    assert last is not None
    assert last.spent == 20 * PRICE


async def test_later_requests_are_paid_at_the_first_try(stage: Stage) -> None:
    await stage.client.request("GET", URL)
    before = len(stage.service.seen)
    await stage.client.request("GET", URL)
    assert len(stage.service.seen) == before + 1


async def test_a_session_can_be_named(stage: Stage) -> None:
    first = await stage.client.create_session(URL, "0.1")
    second = await stage.client.create_session(URL, "0.2")
    await stage.client.request("GET", URL, session=first.session_id)
    assert (await stage.client.get_session(first.session_id)).requests_made == 1
    assert (await stage.client.get_session(second.session_id)).requests_made == 0


async def test_of_several_offers_the_one_with_an_open_session_is_paid(stage: Stage) -> None:
    async def two_offers(request: httpx.Request) -> httpx.Response | None:
        if "Authorization" in request.headers:
            return None
        honest, stage.service.offer = stage.service.offer, cheaper
        first = await stage.service.challenge()
        stage.service.offer = honest
        challenges = [("WWW-Authenticate", first), ("WWW-Authenticate", await stage.service.challenge())]
        return httpx.Response(402, headers=challenges)

    def cheaper(request: SessionRequest) -> SessionRequest:
        assert request.retainer
        return replace(request, retainer=replace(request.retainer, offer_id="cheap"))

    stage.service.before = two_offers
    cheap, standard = await stage.client.offers(URL)
    assert (cheap.scope.offer_id, standard.scope.offer_id) == ("cheap", "standard")
    session = await stage.client.create_session(standard, "1.0")
    async with stage.another(store=stage.store) as client:
        await client.request("GET", URL)
        assert (await client.get_session(session.session_id)).requests_made == 1
    assert stage.service.opened == 1


async def test_a_deposit_can_be_sent_to_the_chain_by_the_agent_itself(stage: Stage) -> None:
    session = await stage.client.create_session(URL, "1.0", submit=Submit.SELF)
    assert session.creation_signature in stage.chain.sent
    assert (await stage.client.request("GET", URL)).status_code == 200


async def test_a_stock_service_without_terms_is_paid_too(stage: Stage) -> None:
    stage.service.terms = False
    session = await stage.client.create_session(URL, "1.0")
    for _ in range(3):
        assert (await stage.client.request("GET", URL)).status_code == 200
    closed = await stage.client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (3 * PRICE, 1_000_000 - 3 * PRICE)


async def test_a_depleted_session_answers_with_its_problem_and_is_not_replaced(stage: Stage) -> None:
    await stage.client.create_session(URL, PRICE)
    assert (await stage.client.request("GET", URL)).status_code == 200
    refused = await stage.client.request("GET", URL)
    assert (refused.status_code, refused.json()["type"]) == (402, ProblemType.SESSION_DEPLETED)
    assert stage.service.opened == 1
    (session,) = await stage.client.sessions()
    assert (session.state, session.spent) == (SessionState.DEPLETED, PRICE)


@pytest.mark.parametrize("state", [SessionState.EXPIRED, SessionState.REFUNDED])
async def test_a_session_that_is_over_is_replaced_once(stage: Stage, state: SessionState) -> None:
    await stage.client.request("GET", URL)
    for books in stage.service.sessions.values():
        books.state = state
    assert (await stage.client.request("GET", URL)).status_code == 200
    assert stage.service.opened == 2


async def test_an_unconfirmed_deposit_is_asked_about_again(stage: Stage) -> None:
    """The same credential each time, and one deposit."""
    credentials: list[str] = []

    async def unconfirmed(request: httpx.Request) -> httpx.Response | None:
        if "Authorization" not in request.headers:
            return None
        credentials.append(request.headers["Authorization"])
        if len(credentials) > 3:
            return None
        return await stage.service.refuse(ProblemType.DEPOSIT_UNCONFIRMED, headers={"Retry-After": "2"})

    stage.service.before = unconfirmed
    session = await stage.client.create_session(URL, "1.0")
    assert session.state is SessionState.ACTIVE
    assert (len(credentials), len(set(credentials))) == (4, 1)
    assert stage.chain.monotonic() >= 6


async def test_offers_show_what_is_asked_for_and_sign_nothing(stage: Stage) -> None:
    (offer,) = await stage.client.offers(URL)
    assert (offer.request.amount, offer.scope.offer_id, offer.suggested_deposit) == (PRICE, "standard", 1_000_000)
    assert await stage.agent_tokens() == 10_000_000
    session = await stage.client.create_session(offer, base_units(800_000))
    assert session.deposit == 800_000


async def test_a_url_that_asks_for_nothing_offers_nothing(stage: Stage) -> None:
    async def free(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(200, json={"free": True})

    stage.service.before = free
    with pytest.raises(OfferError, match="answered 200 and offers no session"):
        await stage.client.create_session(URL, "1.0")
    response = await stage.client.request("GET", URL)
    assert (response.json(), "retainer" in response.extensions) == ({"free": True}, False)


async def test_a_free_answer_of_a_paid_host_enters_no_receipt(stage: Stage) -> None:
    await stage.client.create_session(URL, "1.0")

    async def free(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(200) if request.url.path == "/health" else None

    stage.service.before = free
    assert (await stage.client.request("GET", "http://localhost:8402/health")).status_code == 200
    assert (await stage.client.request("GET", URL)).extensions["retainer"].spent == PRICE


async def test_an_offer_that_is_gone_is_not_opened(stage: Stage) -> None:
    (offer,) = await stage.client.offers(URL)
    stage.service.offer = lambda request: replace(request, recipient=stage.mint)
    with pytest.raises(OfferError, match="no longer makes this offer"):
        await stage.client.create_session(offer, "1.0")


async def test_a_mint_that_is_no_mint_is_refused(stage: Stage) -> None:
    junk = Pubkey.new_unique()
    stage.chain.put(junk, owner=TOKEN_PROGRAM_ID, data=bytes(82))
    stage.service.offer = lambda request: replace(request, currency=junk)
    with pytest.raises(OfferError, match="is no token"):
        await stage.client.create_session(URL, "1.0")


def test_a_client_needs_one_node_of_the_callers() -> None:
    for settings in ({}, {"chain": FakeChain(), "rpc_url": "http://127.0.0.1:1"}):
        with pytest.raises(ClientError, match="either chain= or rpc_url="):
            SessionClient(Keypair(), **settings)  # type: ignore[arg-type]


async def test_what_a_client_made_itself_it_closes_itself() -> None:
    async with SessionClient(Keypair(), rpc_url="http://127.0.0.1:1") as client:
        assert await client.sessions() == []
    with pytest.raises(RuntimeError, match="closed"):
        await client.offers(URL)


async def test_time_moves_a_session_without_asking_anyone(stage: Stage) -> None:
    await stage.client.create_session(URL, "1.0")
    async with stage.another(store=stage.store, now=lambda: NOW + 3600) as later:
        (session,) = await later.sessions()
    assert session.state is SessionState.EXPIRED
