"""retainer's own client where the provider holds the money: only when told to, and then as in any other session."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from solders.pubkey import Pubkey

from retainer import SessionClient, TopUpPolicy, create_channel_store, create_sqlite_channel_store
from retainer.chain.testing import token_balance
from retainer.errors import PinError, SessionError
from retainer.protocol.session import SessionState
from tests.custody import custodial
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop
from tests.shop import DEPOSIT, PRICE, table

URL = "http://localhost/paid/x"

Make: TypeAlias = Callable[..., SessionClient]


@pytest.fixture
def raw_settings(mint: Pubkey) -> dict[str, Any]:
    return custodial(table(mint))


@pytest.fixture
def make(shop: Shop) -> Make:
    """Clients of the agent whose requests reach the shop."""

    def client(**options: Any) -> SessionClient:  # noqa: ANN401
        http = httpx.AsyncClient(transport=httpx.ASGITransport(shop.app))
        settings = {"chain": shop.chain, "http": http, "timer": shop.chain, "now": shop.clock.now, "deposit": DEPOSIT}
        return SessionClient(AGENT, **{"allow_custodial": True, **settings, **options})

    return client


async def paid(shop: Shop) -> tuple[int, int]:
    """What the agent has paid, and what the service has got, by the chain."""
    held = [await token_balance(shop.chain, owner.pubkey(), shop.mint) for owner in (AGENT, OPERATOR)]
    return TOKENS - held[0], held[1] - TOKENS


async def test_nothing_is_signed_for_a_provider_that_holds_the_money_unless_the_caller_says_so(
    shop: Shop, make: Make
) -> None:
    async with make(allow_custodial=False) as client:
        sent = len(shop.chain.sent)
        with pytest.raises(PinError, match=r"the provider holds the money.*allow_custodial"):
            await client.create_session(URL, DEPOSIT)
        with pytest.raises(PinError, match="the provider holds the money"):
            await client.request("GET", URL)
        assert await client.sessions() == []
        assert len(shop.chain.sent) == sent


async def test_a_session_is_opened_used_and_closed_by_itself(shop: Shop, make: Make) -> None:
    async with make() as client:
        for number in range(30):
            assert (await client.request("POST", URL, content=b"%d" % number)).status_code == 200
        [session] = await client.sessions()
        assert (session.anchor_on_chain, session.state) == (False, SessionState.ACTIVE)
        closed = await client.close_session(session.session_id)
        assert (closed.settled, closed.refunded) == (240_000, 760_000)
        assert closed.signature in await shop.chain.signatures_for(session.pda)
        assert (await client.close_session(session.session_id)).signature == closed.signature
    assert await paid(shop) == (240_000, 240_000)


async def test_what_is_spent_to_the_last_unit_needs_no_transaction(shop: Shop, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    async with make(store=create_sqlite_channel_store(path)) as client:
        for _ in range(DEPOSIT // PRICE):
            assert (await client.request("GET", URL)).status_code == 200
        [session] = await client.sessions()
        closed = await client.close_session(session.session_id)
        assert (closed.settled, closed.refunded, closed.signature) == (DEPOSIT, 0, "")
        assert "nothing was left to send back" in str(closed)
    async with make(store=create_sqlite_channel_store(path)) as client:
        again = await client.get_session(session.session_id)
        assert (again.state, again.refund, again.settlement_signature) == (SessionState.REFUNDED, 0, None)


async def test_top_ups_by_hand_and_by_policy_are_transfers(shop: Shop, make: Make) -> None:
    policy = TopUpPolicy(below=2 * PRICE, amount=10 * PRICE)
    async with make(deposit=10 * PRICE, top_up=policy, caps=None) as client:
        session = await client.create_session(URL, 10 * PRICE)
        topped = await client.top_up(session.session_id, 5 * PRICE)
        assert topped.deposit == 15 * PRICE
        for _ in range(5):
            await client.request("GET", URL, session=session.session_id)
        closed = await client.close_session(session.session_id)
        assert (closed.settled, closed.refunded) == (5 * PRICE, 10 * PRICE)
    assert await paid(shop) == (5 * PRICE, 5 * PRICE)


async def test_requests_at_once_open_one_session(shop: Shop, make: Make) -> None:
    store = create_channel_store()
    async with make(store=store) as client:
        answers = await asyncio.gather(*(client.request("POST", URL, content=b"%d" % n) for n in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        [session] = await client.sessions()
        assert (await client.close_session(session.session_id)).settled == 20 * PRICE
    assert await paid(shop) == (20 * PRICE, 20 * PRICE)


async def test_a_session_outlives_the_client(shop: Shop, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    async with make(store=create_sqlite_channel_store(path)) as client:
        assert (await client.request("GET", URL)).status_code == 200
    async with make(store=create_sqlite_channel_store(path)) as client:
        assert (await client.request("GET", URL)).status_code == 200
        [session] = await client.sessions()
        assert (session.spent, session.anchor_on_chain) == (2 * PRICE, False)


async def test_there_is_no_exit_without_the_provider(make: Make) -> None:
    async with make() as client:
        session = await client.create_session(URL, DEPOSIT)
        with pytest.raises(SessionError, match="the provider holds the money"):
            await client.request_close(session.session_id)
        with pytest.raises(SessionError, match="the provider holds the money"):
            await client.withdraw(session.session_id)
