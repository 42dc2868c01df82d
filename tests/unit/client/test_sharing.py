"""Clients that share nothing but a session file, as processes do: one session, and one set of caps for all of them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from retainer.errors import CapError, OpeningUnconfirmedError
from retainer.stores import create_sqlite_channel_store
from retainer.trust.caps import DAY, SpendingCaps, TopUpPolicy
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
    lasting = replace(stage.service.retainer_terms(), expires_at=NOW + 2 * DAY)
    stage.service.offer = lambda request: replace(request, retainer=lasting)
    clients = [stage.another(caps, store=create_sqlite_channel_store(path), now=lambda: clock[0]) for _ in range(5)]
    results = await asyncio.gather(*(client.create_session(URL, "1.0") for client in clients), return_exceptions=True)
    refused = [result for result in results if isinstance(result, CapError)]
    assert (stage.service.opened, len(refused)) == (2, 3)
    assert all("which has room for it in 86400 s" in str(refusal) for refusal in refused)
    next_run = stage.another(caps, store=create_sqlite_channel_store(path), now=lambda: clock[0])
    first = (await next_run.sessions())[0].session_id
    with pytest.raises(CapError, match=r"2\.5 per day"):
        await next_run.top_up(first, "0.500001")
    await next_run.top_up(first, "0.5")
    with pytest.raises(CapError, match=r"2\.5 per day"):
        await next_run.create_session(URL, "0.01")
    clock[0] += DAY
    await next_run.top_up(first, "0.5")
    assert await stage.agent_tokens() == 10_000_000 - 3_000_000


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
