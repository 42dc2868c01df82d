"""Services that want to be asked in their own way: streams are read as they come, and what is no text is saved."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.e2e.panel.conftest import Shop, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
OFFER = """
[panel]
path = "/"

[panel.ask]
{ask}

[offers.demo]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "1.0"
minimum_deposit = "0.1"
grace_period = 900
voucher_signer = "operator"
routes = ["/v1/search", {path = "/v1/chat", max_units = 10, count = "events", stream = true}]
"""
CHAT = """
path = "/v1/chat"
body = { messages = [{ role = "user", content = "{question}" }], stream = true }
answer = "/choices/0/delta/content"
"""
SEARCH = """
method = "GET"
path = "/v1/search?q={question}&n=1"
answer = "/found"
"""
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@dataclass
class Service:
    """Streams three words, the last two when it is told to go on; finds things, and draws them."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[object] = field(default_factory=list)

    def app(self) -> Starlette:
        routes = [Route("/v1/chat", self.chat, methods=["POST"]), Route("/v1/search", self.search)]
        return Starlette(routes=routes)

    async def chat(self, request: Request) -> Response:
        self.asked.append(await request.json())
        return StreamingResponse(self.words(), media_type="text/event-stream")

    async def words(self) -> AsyncIterator[str]:
        for number, word in enumerate(("It ", "**depends**, ", "<b>mostly</b>.")):
            if number == 1:
                await self.go_on.wait()
            yield f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n"

    async def search(self, request: Request) -> Response:
        self.asked.append(dict(request.query_params))
        if request.query_params["q"] == "draw":
            return Response(PICTURE, media_type="image/png")
        return JSONResponse({"found": f"One thing about {request.query_params['q']}", "more": 0})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chatting(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Shop, Service]]:
    service, offers = Service(), OFFER.replace("{ask}", CHAT)
    async with opened(tmp_path_factory.mktemp("chat"), browser, offers=offers, app=service.app()) as shop:
        yield shop, service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def searching(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Shop, Service]]:
    service, offers = Service(), OFFER.replace("{ask}", SEARCH)
    async with opened(tmp_path_factory.mktemp("search"), browser, offers=offers, app=service.app()) as shop:
        yield shop, service


async def test_a_stream_is_shown_as_it_comes_and_costs_what_its_receipt_says(
    chatting: tuple[Shop, Service],
) -> None:
    shop, service = chatting
    service.go_on.clear()
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    page = guest.visitor.page
    await page.get_by_label("Your question").fill("Does it?")
    await page.keyboard.press("Enter")
    turn = page.locator(".turns > li").last
    await expect(turn.locator(".text")).to_have_text("It ")
    await expect(turn).to_have_attribute("aria-busy", "true")
    service.go_on.set()
    await expect(turn.locator(".cost")).to_have_text("0.024 TEST")
    await expect(turn.locator(".text")).to_have_text("It **depends**, <b>mostly</b>.")
    assert service.asked[-1:] == [{"messages": [{"role": "user", "content": "Does it?"}], "stream": True}]
    await guest.visitor.sees(balance="0.976 TEST")


async def test_a_stream_that_breaks_off_is_charged_for_what_came_and_says_so(chatting: tuple[Shop, Service]) -> None:
    shop, service = chatting
    service.go_on.clear()
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    page = guest.visitor.page
    await page.get_by_label("Your question").fill("Does it?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".turns .text")).to_have_text("It ")
    await shop.stood.service.kill()
    await guest.reads("The connection broke here.")
    await shop.stood.service.start()
    service.go_on.set()
    await guest.visitor.sees(state="active", balance="0.992 TEST")


async def test_a_get_has_the_question_in_its_address(searching: tuple[Shop, Service]) -> None:
    shop, service = searching
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    await guest.visitor.ask("cats & dogs?")
    await expect(guest.visitor.page.locator(".turns .text")).to_have_text("One thing about cats & dogs?")
    assert service.asked[-1:] == [{"q": "cats & dogs?", "n": "1"}]


async def test_what_is_no_text_can_be_saved(searching: tuple[Shop, Service]) -> None:
    shop, _ = searching
    guest = await shop.visit(await shop.wallet())
    await guest.fund()
    await guest.visitor.ask("draw")
    await guest.reads("The answer is no text (image/png).")
    async with guest.visitor.page.expect_download() as saving:
        await guest.visitor.page.get_by_role("link", name="Save it").click()
    assert (await (await saving.value).path()).read_bytes() == PICTURE
    assert guest.watched.errors == []
