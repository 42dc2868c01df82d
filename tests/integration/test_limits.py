"""What one caller can take from the others, over the whole service (F21)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey
from starlette.types import Receive, Scope, Send

from retainer.chain.fake import FakeChain
from retainer.protocol.problems import ProblemType
from retainer_provider.rates import BURST_SECONDS
from retainer_provider.wire.door import caller_of
from tests.integration.conftest import Shop, Upstream, opened_shop, problem, reply

LATER = ProblemType.TOO_MANY_REQUESTS


@pytest.mark.row("F21", attack="an address that asks for challenges without end", twin="payers at the address go on")
async def test_an_address_that_never_pays_loses_its_challenges_and_no_payer_anything(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    raw_settings["limits"]["unpaid_requests_per_second"] = 1
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        late = shop.agent.open(await shop.challenge())
        for header in ("Payment !!!", opening.use()[:-9] + "AAAAAAAAA", opening.use().replace("a", "b")):
            await shop.send(header)
        answers = [await shop.http.get("/paid/x") for _ in range(BURST_SECONDS)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) == 5
        for answer in (*refused, await shop.send("Payment !!!"), await shop.send(late.header)):
            assert (problem(answer).type, answer.status_code) == (LATER, 429)
            assert answer.headers["retry-after"] == "1"
            assert "www-authenticate" not in answer.headers
        assert await shop.ledger.session(str(late.action.channel_id)) is None
        assert (await shop.use(opening)).status_code == 200
        shop.chain.advance(seconds=1)
        assert (await shop.http.get("/paid/x")).status_code == 402


@pytest.mark.row("F21", attack="a payer that asks more often than is allowed", twin="it asks again later, uncharged")
async def test_a_payer_that_asks_too_often_waits_and_is_not_charged(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    raw_settings["limits"]["payer_requests_per_second"] = 1
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        shop.chain.advance(seconds=3)
        other = await shop.opened()
        statuses = [(await shop.use(each)).status_code for each in [opening, other] * (BURST_SECONDS // 2)]
        assert statuses == [200] * BURST_SECONDS
        for each in (opening, other):
            answer = await shop.use(each)
            assert (problem(answer).type, answer.headers["retry-after"]) == (LATER, "1")
        assert len(shop.upstream.asked) == BURST_SECONDS
        assert (await shop.view(opening)).requests_made == BURST_SECONDS // 2
        shop.chain.advance(seconds=1)
        assert (await shop.use(opening)).status_code == 200


class Held:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.running = 0
        self.go = asyncio.Event()

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        self.running += 1
        await self.go.wait()
        await reply(send, b"x")


@pytest.mark.parametrize(
    ("limit", "refusal", "status"),
    [
        ("payer_concurrent_requests", LATER, 429),
        ("concurrent_requests", ProblemType.SERVICE_BUSY, 503),
    ],
)
@pytest.mark.row("F21", attack="more requests at once than are allowed", twin="as many as are allowed are served")
async def test_more_at_once_than_allowed_are_refused_uncharged(
    chain: FakeChain,
    mint: Pubkey,
    raw_settings: dict[str, Any],
    tmp_path: Path,
    *,
    limit: str,
    refusal: ProblemType,
    status: int,
) -> None:
    raw_settings["limits"][limit] = 3
    held = Held()
    async with opened_shop(chain, mint, raw_settings, tmp_path, Upstream(app=held)) as shop:
        opening = await shop.opened()
        tasks = [asyncio.create_task(shop.use(opening)) for _ in range(5)]
        refused_first = asyncio.as_completed(tasks)
        for _ in range(2):
            await next(refused_first)
        held.go.set()
        answers = await asyncio.gather(*tasks)
        assert held.running == 3
        refused = [answer for answer in answers if answer.status_code != 200]
        assert [(problem(answer).type, answer.status_code) for answer in refused] == [(refusal, status)] * 2
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert (await shop.view(opening)).requests_made == 3
        assert (await shop.use(opening)).status_code == 200


@pytest.mark.row("F21", attack="heads too large, or of too many headers", twin="an ordinary head is served")
async def test_a_large_head_is_refused_before_anything_is_read_from_it(shop: Shop) -> None:
    opening = await shop.opened()
    for headers in ({"X-Large": "x" * 65_536}, {f"X-{number}": "" for number in range(100)}):
        answer = await shop.send(opening.use(), headers=headers)
        assert (problem(answer).type, answer.status_code) == (ProblemType.HEAD_TOO_LARGE, 431)
    longest = "/paid/" + "x" * 65_000
    assert (await shop.send(opening.use(), path=longest, headers={"X-More": "x" * 536})).status_code == 431
    assert (await shop.use(opening)).status_code == 200


@pytest.mark.parametrize(
    ("client", "caller"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::", 5), "2001:db8:1:2::/64"),
        (("a socket", 0), "a socket"),
        (None, ""),
    ],
)
def test_a_caller_is_an_address_or_the_network_that_one_customer_gets(client: object, caller: str) -> None:
    assert caller_of({"type": "http", "client": client}) == caller
