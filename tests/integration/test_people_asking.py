"""What a question on the page becomes: by default, by [panel.ask], and where the answer flows."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.receipts import parse_receipt
from retainer_provider.settings import SettingsError
from tests.integration.conftest import AGENT, Shop, opened_shop
from tests.integration.test_usage_priced import flowing
from tests.people import Page
from tests.shop import DEPOSIT, PRICE

PLAIN = {
    "method": "POST",
    "path": "/paid/ask",
    "body": {"question": "{question}"},
    "answer": "/answer",
    "streams": False,
}


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any]) -> dict[str, Any]:
    raw_settings["offers"]["standard"]["routes"] = [
        "/paid/*",
        {"path": "/paid/flowing", "max_units": 5, "count": "events", "stream": True},
    ]
    raw_settings["routes"] = {"free": ["/about"]}
    return raw_settings


Asked = Callable[[], Awaitable[object]]


@pytest.fixture
def asked(chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path) -> Asked:
    """What the page of a service with these settings is told to make of a question."""

    async def read() -> object:
        async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
            [offer] = (await Page(shop.http, AGENT).ok("GET", "/offers"))["offers"]
            return offer["ask"]

    return read


@pytest.mark.parametrize(
    ("free", "path"),
    [((), "/paid/flowing"), (("/paid/*",), "/paid/flowing"), (("/paid/given",), "/paid/given")],
)
async def test_without_a_setting_it_goes_to_the_first_whole_path(
    asked: Asked, raw_settings: dict[str, Any], free: tuple[str, ...], path: str
) -> None:
    if free:
        raw_settings["free_tier"] = {"asks_per_day": 1, "routes": [*free]}
    assert await asked() == {
        **PLAIN,
        "path": path,
        "streams": path == "/paid/flowing",
    }


async def test_a_pattern_alone_is_asked_at_ask(asked: Asked, raw_settings: dict[str, Any]) -> None:
    raw_settings["offers"]["standard"]["routes"] = ["/paid/*"]
    assert await asked() == PLAIN


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"path": "/paid/search?q={question}", "method": "GET", "answer": ""}, {"body": None}),
        ({"path": "/paid/chat", "body": {"messages": [{"role": "user", "content": "{question}"}]}}, {}),
    ],
)
async def test_a_setting_says_how_a_question_is_asked(
    asked: Asked,
    raw_settings: dict[str, Any],
    setting: dict[str, Any],
    told: dict[str, Any],
) -> None:
    raw_settings["panel"] = {"ask": setting}
    assert await asked() == {**PLAIN, **setting, **told}


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({"path": "/elsewhere"}, "nothing is sold there"),
        ({"path": "/about"}, "it is free for everyone"),
        ({"path": "/paid/../about"}, "more than one way"),
    ],
)
async def test_a_setting_that_cannot_work_keeps_the_service_from_starting(
    asked: Asked, raw_settings: dict[str, Any], setting: dict[str, Any], why: str
) -> None:
    raw_settings["panel"] = {"ask": setting}
    with pytest.raises(SettingsError, match=why):
        await asked()


async def test_a_path_that_no_page_can_fund_keeps_the_service_from_starting(
    asked: Asked, raw_settings: dict[str, Any]
) -> None:
    raw_settings["panel"] = {"ask": {"path": "/paid/ask"}}
    raw_settings["offers"]["standard"]["voucher_signer"] = "client"
    with pytest.raises(SettingsError, match="no page can fund that one"):
        await asked()


async def test_a_stream_flows_to_the_page_with_its_receipt(shop: Shop) -> None:
    shop.upstream.app = flowing(b"data: a\n\n", b"data: b\n\n")
    page = Page(shop.http, AGENT)
    session = await page.funded()
    answer = await page.ask(session, path="/paid/flowing", accept="text/event-stream", idempotency_key="k")
    assert answer.headers["content-type"] == "text/event-stream"
    assert "set-cookie" not in answer.headers
    *events, receipt = answer.text.strip().split("\n\n")
    assert events == ["data: a", "data: b"]
    name, data = receipt.splitlines()
    assert name == "event: payment-receipt"
    extension = parse_receipt(data.removeprefix("data: ")).retainer
    assert extension is not None
    assert extension.metered is not None
    assert extension.metered.amount == 2 * PRICE
    assert (await page.session(session))["remaining"] == str(DEPOSIT - 2 * PRICE)
    again = (await page.ask(session, path="/paid/flowing", accept="text/event-stream", idempotency_key="k")).json()
    assert (again["charge"]["replayed"], again["response"]["body"]) == (True, None)


async def test_a_stream_comes_whole_to_a_page_that_does_not_ask_for_one(shop: Shop) -> None:
    shop.upstream.app = flowing(b"data: a\n\n", b"data: b\n\n")
    page = Page(shop.http, AGENT)
    told = (await page.ask(await page.funded(), path="/paid/flowing")).json()
    assert (told["response"]["body"], told["charge"]["amount"]) == ("data: a\n\ndata: b\n\n", str(2 * PRICE))


async def test_an_answer_that_is_no_stream_comes_as_json_all_the_same(shop: Shop) -> None:
    page = Page(shop.http, AGENT)
    answer = await page.ask(await page.funded(), path="/paid/flowing", accept="text/event-stream, application/json")
    assert json.loads(answer.text)["response"]["body"] == "echo:question"
