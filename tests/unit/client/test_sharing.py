"""Clients that share nothing but a session file, as processes do: one session, and one set of caps for all of them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from retainer.channels.spending import DAY
from retainer.errors import CapError, OpeningUnconfirmedError
from retainer.stores import create_sqlite_channel_store
from retainer.trust.caps import SpendingCaps, TopUpPolicy
from tests.unit.client.conftest import Stage
from tests.unit.client.service import NOW, PRICE, URL


async def test_of_clients_that_find_no_session_only_one_opens_one(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    clients = [stage.another(deposit=20 * PRICE, store=create_sqlite_channel_store(path)) for _ in range(4)]
    answers = await asyncio.gather(*(client.request("GET", f"{URL}?q={n}") for n, client in enumerate(clients * 3)))
    assert {answer.status_code for answer in answers} == {200}
    [session] = await clients[0].sessions()
    assert session.spent == 12 * PRICE
    assert (stage.service.opened, await stage.agent_tokens()) == (1, 10_000_000 - 20 * PRICE)


async def test_clients_that_ask_the_same_at_once_are_each_answered(stage: Stage, tmp_path: Path) -> None:
    """A key that somebody waits for is not lost, whichever process that is."""
    path = tmp_path / "sessions.sqlite"
    clients = [stage.another(deposit=20 * PRICE, store=create_sqlite_channel_store(path)) for _ in range(4)]
    answers = await asyncio.gather(*(client.request("GET", URL) for client in clients * 3))
    sequences = {answer.extensions["retainer"].retainer.metered.sequence for answer in answers}
    assert sequences == set(range(1, 13)), "each its own"
    [session] = await clients[0].sessions()
    assert session.spent == 12 * PRICE
    assert list((tmp_path / "sessions.sqlite.held").iterdir()) == []


async def test_a_lost_answer_is_taken_over_by_one_of_the_clients(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"

    async def lose(request: httpx.Request) -> httpx.Response | None:
        if "Idempotency-Key" in request.headers and "Payment-Session" in request.headers:
            stage.service.before = None
            await stage.service(request)
            stage.service.before = lose
            raise httpx.ReadError("the process ends here", request=request)
        return None

    stage.service.before = lose
    with pytest.raises(httpx.ReadError):
        await stage.another(deposit=20 * PRICE, store=create_sqlite_channel_store(path)).request("GET", URL)
    stage.service.before = None
    heirs = [stage.another(deposit=20 * PRICE, store=create_sqlite_channel_store(path)) for _ in range(4)]
    answers = await asyncio.gather(*(heir.request("GET", URL) for heir in heirs))
    sequences = {answer.extensions["retainer"].retainer.metered.sequence for answer in answers}
    assert sequences == {1, 2, 3, 4}, "the lost one and three new ones"


@pytest.mark.parametrize("arrived", [True, False], ids=["answer lost", "request lost"])
async def test_an_opening_whose_owner_died_is_taken_over(stage: Stage, tmp_path: Path, *, arrived: bool) -> None:
    path = tmp_path / "sessions.sqlite"

    async def die(request: httpx.Request) -> httpx.Response | None:
        if "Authorization" not in request.headers:
            return None
        if arrived:
            stage.service.before = None
            await stage.service(request)
            stage.service.before = die
        raise httpx.ReadError("the process ends here", request=request)

    stage.service.before = die
    with pytest.raises(OpeningUnconfirmedError):
        await stage.another(deposit=2 * PRICE, store=create_sqlite_channel_store(path)).request("GET", URL)
    stage.service.before = None
    heir = stage.another(deposit=2 * PRICE, store=create_sqlite_channel_store(path))
    assert (await heir.request("GET", URL)).status_code == 200
    assert (stage.service.opened, len(await heir.sessions())) == (1, 1)
    assert await stage.agent_tokens() == 10_000_000 - 2 * PRICE


@pytest.mark.parametrize(
    "caps", [SpendingCaps(per_day="2.5"), SpendingCaps(per_origin="2.5")], ids=["of a day", "of a service"]
)
async def test_clients_stay_within_a_cap_together_and_beyond_a_restart(
    stage: Stage, tmp_path: Path, caps: SpendingCaps
) -> None:
    path, clock = tmp_path / "sessions.sqlite", [NOW]
    lasting = replace(stage.service.retainer_terms(), expires_at=NOW + 3 * DAY)
    stage.service.offer = lambda request: replace(request, retainer=lasting)
    clients = [stage.another(caps, store=create_sqlite_channel_store(path), now=lambda: clock[0]) for _ in range(5)]
    results = await asyncio.gather(*(client.create_session(URL, "1.0") for client in clients), return_exceptions=True)
    refused = [result for result in results if isinstance(result, CapError)]
    assert (stage.service.opened, len(refused)) == (2, 3)
    assert all("Closing a session frees what it has not spent" in str(refusal) for refusal in refused)
    next_run = stage.another(caps, store=create_sqlite_channel_store(path), now=lambda: clock[0])
    first = (await next_run.sessions())[0].session_id
    with pytest.raises(CapError, match=r"2\.5 per day"):
        await next_run.top_up(first, "0.500001")
    await next_run.top_up(first, "0.5")
    clock[0] += DAY
    with pytest.raises(CapError, match=r"2\.5 per day"):  # the deposits are older than a day, and can be spent now
        await next_run.create_session(URL, "0.01")
    assert (await next_run.request("GET", URL, session=first)).status_code == 200
    assert (await next_run.close_session(first)).refunded == 1_500_000 - PRICE
    with pytest.raises(CapError, match="room for it in 86400 s"):
        await next_run.create_session(URL, "1.5")
    clock[0] += DAY
    await next_run.create_session(URL, "1.5")


async def test_refunds_make_room_in_a_days_cap_at_once(stage: Stage, tmp_path: Path) -> None:
    """Whoever closes the session: here another machine, whose records are not these."""
    caps = SpendingCaps(per_day="1.0")
    here = stage.another(caps, store=create_sqlite_channel_store(tmp_path / "here.sqlite"))
    for _ in range(3):
        session = await here.create_session(URL, "1.0")
        assert (await here.close_session(session.session_id)).refunded == 1_000_000
    session = await here.create_session(URL, "1.0")
    store = create_sqlite_channel_store(tmp_path / "there.sqlite")
    kept = await create_sqlite_channel_store(tmp_path / "here.sqlite").find(stage.agent.pubkey(), session.session_id)
    assert kept is not None
    await store.set(kept.scope, kept)
    assert (await stage.another(caps, store=store).close_session(session.session_id)).refunded == 1_000_000
    assert (await here.create_session(URL, "1.0")).deposit == 1_000_000


async def test_clients_top_a_shared_session_up_together(stage: Stage, tmp_path: Path) -> None:
    path, policy = tmp_path / "sessions.sqlite", TopUpPolicy(below=PRICE, amount=10 * PRICE)
    caps = SpendingCaps(per_session=40 * PRICE)
    clients = [
        stage.another(caps, deposit=10 * PRICE, top_up=policy, store=create_sqlite_channel_store(path))
        for _ in range(4)
    ]
    answers = await asyncio.gather(*(client.request("GET", f"{URL}?q={n}") for n, client in enumerate(clients * 10)))
    assert {answer.status_code for answer in answers} == {200}
    [session] = await clients[0].sessions()
    assert (session.deposit, session.spent) == (40 * PRICE, 40 * PRICE)
    with pytest.raises(CapError, match="per session"):
        await clients[0].request("GET", URL)
