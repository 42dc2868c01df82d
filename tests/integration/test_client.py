"""retainer's own client against the service: vouchers, sponsors, sessions taken up again."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from msgspec import structs
from solders.keypair import Keypair
from starlette.types import Receive, Scope, Send

from retainer import SessionClient, TopUpPolicy, create_channel_store, create_sqlite_channel_store, problem_of
from retainer.chain.testing import token_balance
from retainer.channels.channel import Channel
from retainer.errors import OfferError, ReceiptError, SessionError
from retainer.protocol.amounts import base_units
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.stores import ChannelScope, SessionStore
from retainer.wallet import sign_voucher_as
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.wire.views import request_receipt
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, reply
from tests.shop import DEPOSIT, PRICE

URL = "http://localhost/paid/x"
VOUCHERS = Keypair.from_seed(b"v" * 32)
SPONSOR = Keypair.from_seed(b"s" * 32)

Make: TypeAlias = Callable[..., SessionClient]


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Voucher mode; for an agent without SOL, deposits that a sponsor pays the fees of."""
    raw_settings["offers"]["standard"]["voucher_signer"] = "client"
    if "without_sol" in request.node.name:
        write_private(tmp_path / "sponsor.json", keypair_text(SPONSOR))
        raw_settings["service"]["sponsor_keypair"] = str(tmp_path / "sponsor.json")
    return raw_settings


@pytest.fixture
def make(shop: Shop) -> Make:
    """Clients of the agent whose requests reach the shop."""

    def client(**options: Any) -> SessionClient:  # noqa: ANN401
        http = httpx.AsyncClient(transport=httpx.ASGITransport(shop.app))
        settings = {"chain": shop.chain, "http": http, "timer": shop.chain, "now": shop.clock.now, "deposit": DEPOSIT}
        return SessionClient(AGENT, **{**settings, **options})

    return client


async def only(store: SessionStore) -> Channel:
    [channel] = await store.channels(AGENT.pubkey())
    return channel


async def test_vouchers_pay_thirty_requests(shop: Shop, make: Make) -> None:
    store = create_channel_store()
    async with make(store=store) as client:
        for number in range(1, 31):
            answer = await client.request("POST", URL, content=b"question %d" % number)
            assert (answer.status_code, answer.text) == (200, f"echo:question {number}")
            assert (await only(store)).signed == number * PRICE, "no more is ever signed than was asked for"
        session = await only(store)
        closed = await client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (30 * PRICE, DEPOSIT - 30 * PRICE)
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - 30 * PRICE
    assert await token_balance(shop.chain, OPERATOR.pubkey(), shop.mint) == TOKENS + 30 * PRICE


async def test_requests_at_once_are_each_charged_once(shop: Shop, make: Make) -> None:
    store = create_channel_store()
    async with make(store=store) as client:
        answers = await asyncio.gather(*(client.request("POST", URL, content=b"%d" % n) for n in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.text for answer in answers} == {f"echo:{n}" for n in range(50)}
        session = await only(store)
        assert (session.signed, session.book.spent) == (50 * PRICE, 50 * PRICE)
        assert (await client.close_session(session.session_id)).settled == 50 * PRICE
    assert len(shop.upstream.asked) == 50


async def test_a_free_answer_leaves_room_for_the_next_and_nothing_new_is_signed(shop: Shop, make: Make) -> None:
    async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"", 500)

    store = create_channel_store()
    async with make(store=store) as client:
        shop.upstream.app = broken
        assert (await client.request("GET", URL)).status_code == 500
        signed = (await only(store)).authority
        shop.upstream.app = None
        assert (await client.request("GET", URL)).status_code == 200
        session = await only(store)
        assert session.authority == signed
        assert (await client.close_session(session.session_id)).settled == PRICE


async def test_a_voucher_is_kept_before_it_leaves(shop: Shop, make: Make) -> None:
    """A client that dies with a request under way knows afterwards what it has signed, and under which key."""
    store = create_channel_store()
    seen: list[tuple[int, int]] = []

    async def look(_scope: Scope, _receive: Receive, send: Send) -> None:
        kept = await only(store)
        seen.append((kept.signed, len(kept.book.outstanding)))
        await reply(send, b"answer")

    shop.upstream.app = look
    async with make(store=store) as client:
        await client.request("GET", URL)
        await client.request("GET", URL)
    assert seen == [(PRICE, 1), (2 * PRICE, 1)]


async def test_the_last_unit_is_spent_and_not_one_more(make: Make) -> None:
    store = create_channel_store()
    async with make(store=store, deposit=10 * PRICE + 1) as client:
        for _ in range(10):
            assert (await client.request("GET", URL)).status_code == 200
        refused = await client.request("GET", URL)
        problem = problem_of(refused)
        assert problem is not None
        assert problem.type is ProblemType.SESSION_DEPLETED
        session = await only(store)
        assert session.signed <= session.deposit
        assert (await client.close_session(session.session_id)).refunded == 1


async def test_the_next_process_takes_the_session_up(shop: Shop, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    for _ in range(3):
        async with make(store=create_sqlite_channel_store(path)) as client:
            assert (await client.request("GET", URL)).status_code == 200
    session = await only(create_sqlite_channel_store(path))
    assert (session.signed, session.book.requests) == (3 * PRICE, 3)
    assert len(await shop.chain.signatures_for(session.address)) == 1


async def test_a_wallet_picks_the_key_by_scope_and_session(make: Make) -> None:
    asked: list[Channel | None] = []

    def pick(scope: ChannelScope, channel: Channel | None) -> Keypair:
        assert scope.payee == OPERATOR.pubkey()
        asked.append(channel)
        return VOUCHERS

    store = create_channel_store()
    async with make(store=store, voucher_signer=pick) as client:
        assert (await client.request("GET", URL)).status_code == 200
        session = await only(store)
        assert session.authority.signer == VOUCHERS.pubkey()  # type: ignore[union-attr]
        assert asked[0] is None
        assert [channel.address for channel in asked if channel] == [session.address]
    async with make(store=store) as other:
        with pytest.raises(SessionError, match="give the one that it was opened with"):
            await other.request("GET", URL)


async def test_the_services_own_key_never_signs_the_vouchers(make: Make) -> None:
    async with make(voucher_signer=OPERATOR) as client:
        with pytest.raises(OfferError, match="authorize itself"):
            await client.request("GET", URL)


async def test_records_older_than_the_service_sign_nothing_more(shop: Shop, make: Make) -> None:
    """A store restored from a backup: the old session is left alone, and another one pays, once."""
    store, backup = create_channel_store(), create_channel_store()
    async with make(store=store) as client:
        await client.request("GET", URL)
        backed_up = await only(store)
        await backup.set(backed_up.scope, backed_up)
        for _ in range(4):
            await client.request("GET", URL)
    old = await only(backup)
    async with make(store=backup) as client:
        assert (await client.request("GET", URL)).status_code == 200
    stale, fresh = await backup.channels(AGENT.pubkey())
    assert (stale.signed, stale.usable) == (2 * PRICE, False)
    assert "higher voucher" in (stale.dispute or "")
    assert (fresh.signed, fresh.book.requests) == (PRICE, 1)
    assert old.session_id == stale.session_id
    record = await shop.ledger.session(stale.session_id)
    assert record is not None
    assert record.spent == 5 * PRICE


async def test_records_newer_than_the_service_go_on(make: Make) -> None:
    """A request was signed for and never sent: the next one is covered by what is signed already."""
    store = create_channel_store()
    async with make(store=store) as client:
        await client.request("GET", URL)

        def ahead(kept: Channel) -> Channel:
            return replace(kept, authority=sign_voucher_as(AGENT, kept.address, base_units(5 * PRICE)))

        session = await only(store)
        await store.update(AGENT.pubkey(), session.session_id, ahead)
        for _ in range(4):
            assert (await client.request("GET", URL)).status_code == 200
        assert (await only(store)).signed == 5 * PRICE
        assert (await client.close_session(session.session_id)).settled == 5 * PRICE


async def test_a_session_on_other_terms_is_not_taken_up(shop: Shop, make: Make) -> None:
    store = create_channel_store()
    async with make(store=store) as client:
        await client.request("GET", URL)
    first = await only(store)
    other = replace(first.offer, request=replace(first.offer.request, amount=base_units(PRICE - 1)))
    await store.forget(AGENT.pubkey(), first.session_id)
    await store.set(first.scope, replace(first, offer=other))
    async with make(store=store) as client:
        assert (await client.request("GET", URL)).status_code == 200
    assert len(await store.channels(AGENT.pubkey())) == 2


async def test_a_receipt_over_more_than_was_signed_is_a_dispute(
    shop: Shop, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F29."""

    def greedy(record: Any, entry: Any, *rest: Any) -> str:  # noqa: ANN401
        return request_receipt(structs.replace(record, accepted=record.accepted + 1), entry, *rest)

    monkeypatch.setattr("retainer_provider.sessions.metering.request_receipt", greedy)
    async with make() as client:
        with pytest.raises(ReceiptError, match="8000 signed for"):
            await client.request("GET", URL)


async def test_an_agent_without_sol_opens_tops_up_and_closes(shop: Shop, make: Make) -> None:
    shop.chain.fund(SPONSOR.pubkey())
    shop.chain.put(AGENT.pubkey(), lamports=0)
    store = create_channel_store()
    async with make(store=store) as client:
        view = await client.create_session(URL, "0.1")
        assert view.creation_signature in await shop.chain.signatures_for(view.pda)
        assert (await client.request("GET", URL)).status_code == 200
        assert (await client.top_up(view.session_id, "0.1")).deposit == 200_000
        assert (await client.top_up(view.session_id, "0.1")).deposit == 300_000
        closed = await client.close_session(view.session_id)
    assert (closed.settled, closed.refunded) == (PRICE, 300_000 - PRICE)
    account = await shop.chain.account(AGENT.pubkey())
    assert account is None or account.lamports == 0
    assert (await only(store)).state is SessionState.REFUNDED


async def test_a_session_that_ends_soon_and_is_spent_gives_way_to_another(shop: Shop, make: Make) -> None:
    """The real service closes the one and opens the other inside one request of the caller's."""
    store, ahead, policy = create_channel_store(), [0], TopUpPolicy(below=PRICE, amount=PRICE)
    now = lambda: shop.clock.now() + ahead[0]  # noqa: E731
    async with make(store=store, deposit=10 * PRICE, top_up=policy, now=now) as client:
        for _ in range(10):
            assert (await client.request("GET", URL)).status_code == 200
        first = await only(store)
        ahead[0] = first.offer.expires_at - shop.clock.now() - 30
        assert (await client.request("GET", URL)).status_code == 200
        [old, new] = await client.sessions()
        assert (old.state, old.settled, old.refund) == (SessionState.REFUNDED, 10 * PRICE, 0)
        assert (new.state, new.spent) == (SessionState.ACTIVE, PRICE)
        assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - 20 * PRICE
