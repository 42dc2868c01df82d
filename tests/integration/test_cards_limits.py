"""What the cards' API takes at most: heads, bodies and their time, as everywhere else in the service."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey
from starlette.types import Message

from retainer.chain.fake import FakeChain
from retainer.protocol.problems import ProblemType
from tests.integration.conftest import AGENT, Upstream, opened_shop, problem
from tests.integration.conversing import Person, Responder
from tests.people import Page
from tests.shop import DEPOSIT, table


@pytest.fixture
def raw(mint: Pubkey) -> dict[str, Any]:
    return table(mint) | {"responders": {"ada": {"upstream": "/paid/chat", "offer": "standard"}}}


@pytest.mark.row("F21", attack="a card's message that drips for ever", twin="an ordinary one is written")
async def test_a_message_that_never_ends_is_given_up(
    chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey
) -> None:
    """F21: whoever drips holds a connection for as long as the settings say, and no longer."""
    raw["limits"]["request_body_seconds"] = 1

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=Responder())) as shop:
        me = Person(shop, await shop.opened())
        held = {"Authorization": me.opening.use()}
        answer = await shop.http.post("/api/cards", headers=held, content=dripping())
        assert (problem(answer).type, answer.status_code) == (ProblemType.BODY_TOO_SLOW, 408)
        assert (await me.good("GET", "cards"))["cards"] == []
        assert (await me.card(title="t"))["status"] == "active"


@pytest.mark.row("F21", attack="a head too large, at the cards", twin="an ordinary head is served")
async def test_a_large_head_is_refused(chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey) -> None:
    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=Responder())) as shop:
        me = Person(shop, await shop.opened())
        held = {"Authorization": me.opening.use(), "X-Large": "x" * 65_536}
        answer = await shop.http.get("/api/cards", headers=held)
        assert (problem(answer).type, answer.status_code) == (ProblemType.HEAD_TOO_LARGE, 431)
        assert (await me.good("GET", "cards"))["cards"] == []


@pytest.mark.row("F21", attack="cards made without end, which cost nothing", twin="a payer's share of them is made")
async def test_who_writes_too_often_waits(chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey) -> None:
    raw["limits"]["payer_requests_per_second"] = 1
    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=Responder())) as shop:
        me = Person(shop, await shop.opened())
        made = [await me.call("POST", "cards", {"responder": "ada", "creator": "me"}) for _ in range(12)]
        assert [answer.status_code for answer in made[:10]] == [201] * 10
        assert problem(made[-1]).type == ProblemType.TOO_MANY_REQUESTS
        assert int(made[-1].headers["retry-after"]) >= 1
        assert (await me.call("GET", "cards")).status_code == 200


async def test_a_stream_of_cards_ends_with_the_token_that_opened_it(
    chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey
) -> None:
    """Whoever had a token that was revoked, as stolen ones are, hears nothing more."""
    started, never = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        await never.wait()
        raise AssertionError("the client stays")

    async def send(_: Message) -> None:
        started.set()

    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=Responder())) as shop:
        page = Page(shop.http, AGENT)
        session = await page.funded(DEPOSIT)
        held = {"authorization": f"Bearer {page.token}", "accept": "text/event-stream"}
        named = [(name.encode(), value.encode()) for name, value in held.items()]
        scope = {"type": "http", "method": "GET", "path": "/api/cards/events", "query_string": b"", "headers": named}
        serving = asyncio.ensure_future(shop.app(scope, receive, send))
        await started.wait()
        assert not serving.done()
        assert (await page.call("DELETE", f"/sessions/{session}/token")).status_code == 204
        await asyncio.wait_for(serving, 10)


@pytest.mark.row("F21", attack="cards and messages that fill the books, unanswered", twin="as many as may are taken")
async def test_a_session_has_so_many_cards_and_waiting_turns_and_no_more(
    chain: FakeChain, raw: dict[str, Any], tmp_path: Path, mint: Pubkey
) -> None:
    """F21: neither costs anything before it is answered."""
    raw["cards"] = {"most_per_session": 2, "most_waiting": 2}
    responder = Responder(gate=asyncio.Event())
    async with opened_shop(chain, mint, raw, tmp_path, Upstream(app=responder)) as shop:
        me, other = Person(shop, await shop.opened()), Person(shop, await shop.opened())
        first, second = await me.card(title="one"), await me.card(title="two")
        refused = await me.call("POST", "cards", {"responder": "ada", "creator": "me"})
        assert (problem(refused).type, refused.status_code) == (ProblemType.QUICK_SESSION_CARDS_FULL, 409)
        assert (await other.card(title="mine"))["status"] == "active"
        for card in (first, second):
            await me.good("POST", f"cards/{card['id']}/messages", {"author": "me", "body": "why?"})
        late = {"author": "me", "body": "and why not?"}
        refused = await me.call("POST", f"cards/{first['id']}/messages", late)
        assert (problem(refused).type, refused.status_code) == (ProblemType.QUICK_SESSION_TURNS_FULL, 429)
        assert responder.gate is not None
        responder.gate.set()
        await me.settled(first["id"])
        await me.settled(second["id"])
        assert (await me.good("POST", f"cards/{first['id']}/messages", late))["lines"] == 3
