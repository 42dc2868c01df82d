"""What the cards' API takes at most: heads, bodies and their time, as everywhere else in the service."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.problems import ProblemType
from tests.integration.conftest import Upstream, opened_shop, problem
from tests.integration.conversing import Person, Responder
from tests.shop import table


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
