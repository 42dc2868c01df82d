"""Free asks: so many a day, counted before any work is done, by visitor and by address, across tabs and restarts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.problems import ProblemType
from tests.integration.conftest import AGENT, Shop, opened_shop, problem, reply
from tests.people import Page
from tests.shop import MINIMUM, PRICE

FREE = 3
ASKED = {"method": "POST", "path": "/paid/x", "body": "question"}
DAY = 86_400


@pytest.fixture
def raw_settings(raw_settings: dict[str, Any]) -> dict[str, Any]:
    raw_settings["free_tier"] = {"asks_per_day": FREE, "asks_per_address": 5, "routes": ["/paid/x"]}
    return raw_settings


@pytest.fixture
def page(shop: Shop) -> Page:
    return Page(shop.http, AGENT)


async def test_so_many_are_free_and_the_next_is_gated_before_any_work(shop: Shop, page: Page) -> None:
    for left in range(FREE, 0, -1):
        before = await page.ok("POST", "/ask/preview", ASKED)
        assert (before["coveredBy"], before["freeLeft"], before["price"]) == ("free", left, "0")
        assert before["fullPrice"] == str(PRICE)
        answer = await page.ok("POST", "/ask", ASKED)
        assert answer["response"]["body"] == "echo:question"
        assert (answer["charge"]["kind"], answer["charge"]["freeLeft"]) == ("free-tier", left - 1)
    before = await page.ok("POST", "/ask/preview", ASKED)
    assert (before["coveredBy"], before["price"]) == ("payment", str(PRICE))
    refused = await page.call("POST", "/ask", ASKED)
    assert problem(refused).type is ProblemType.FREE_QUOTA_EXHAUSTED
    assert len(shop.upstream.asked) == FREE
    shop.clock.ahead += DAY
    assert (await page.call("POST", "/ask", ASKED)).status_code == 200


async def test_two_tabs_share_what_is_free(shop: Shop, page: Page) -> None:
    await page.ok("POST", "/ask/preview", ASKED)
    answers = await asyncio.gather(*(page.call("POST", "/ask", ASKED) for _ in range(3 * FREE)))
    assert [answer.status_code for answer in answers].count(200) == FREE
    assert len(shop.upstream.asked) == FREE


async def test_two_tabs_that_open_at_once_are_one_visitor_before_it_has_a_cookie(shop: Shop) -> None:
    """Each of them asks without a cookie, then with whichever it was given last."""
    tabs = [Page(shop.http, AGENT) for _ in range(2)]
    first = await asyncio.gather(*(tab.call("POST", "/ask", ASKED) for tab in tabs))
    assert tabs[0].cookies == tabs[1].cookies != {}
    answers = [*first, *[await tab.call("POST", "/ask", ASKED) for tab in tabs for _ in range(FREE)]]
    assert [answer.status_code for answer in answers].count(200) == FREE


async def test_browsers_behind_one_address_are_visitors_of_their_own(shop: Shop) -> None:
    pages = {name: Page(shop.http, AGENT) for name in ("one", "other")}
    for name, page in pages.items():
        assert (await page.call("POST", "/ask/preview", ASKED, user_agent=name)).json()["freeLeft"] == FREE
        await page.ok("POST", "/ask", ASKED)
    shop.clock.ahead += 60
    later = Page(shop.http, AGENT)
    await later.ok("POST", "/ask/preview", ASKED, user_agent="one")
    assert len({str(page.cookies) for page in (*pages.values(), later)}) == 3


async def test_a_restart_forgets_no_free_ask(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path
) -> None:
    cookies: dict[str, str] = {}
    for number in range(FREE + 2):
        async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
            page = Page(shop.http, AGENT, cookies=cookies)
            assert (await page.call("POST", "/ask", ASKED)).status_code == (200 if number < FREE else 402)


async def test_whoever_clears_cookies_has_an_address(shop: Shop) -> None:
    """Nor does a cookie help that somebody made up."""
    statuses = []
    for number in range(7):
        made_up = {"retainer_visitor": f"visitor{number}.{'A' * 43}"} if number % 2 else {}
        page = Page(shop.http, AGENT, cookies=made_up)
        statuses.append((await page.call("POST", "/ask", ASKED, user_agent=f"browser {number}")).status_code)
    assert statuses == [200] * 5 + [402] * 2


async def test_the_cookie_is_for_this_service_alone(shop: Shop, page: Page) -> None:
    answer = await page.call("POST", "/ask/preview", ASKED)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("retainer_visitor=")
    assert cookie.endswith("; Path=/api; Max-Age=31536000; HttpOnly; SameSite=Strict")
    assert "set-cookie" not in (await page.call("POST", "/ask/preview", ASKED)).headers


async def test_an_ask_that_was_not_answered_is_given_back(shop: Shop, page: Page) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await reply(send, b"", 500)

    async def break_off(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        raise RuntimeError("broken")

    shop.upstream.app = fail
    assert (await page.ok("POST", "/ask", ASKED))["response"]["status"] == 500
    shop.upstream.app = break_off
    assert problem(await page.call("POST", "/ask", ASKED)).type is ProblemType.UPSTREAM_UNAVAILABLE
    assert (await page.ok("POST", "/ask/preview", ASKED))["freeLeft"] == FREE


@pytest.mark.parametrize(
    "path", ["/paid/y", "/paid/x/../y", "/paid/%78", "/PAID/x", "/free", "/none", "/paid/x%2f..%2fy"]
)
async def test_only_what_is_listed_is_given_away(shop: Shop, page: Page, path: str) -> None:
    refused = await page.call("POST", "/ask", {**ASKED, "path": path})
    assert refused.status_code in {400, 402, 404}
    assert shop.upstream.asked == []


async def test_a_session_that_can_pay_goes_first(shop: Shop, page: Page) -> None:
    session = await page.funded(MINIMUM)
    paid = {**ASKED, "session": session}
    before = await page.ok("POST", "/ask/preview", paid)
    assert (before["coveredBy"], before["price"], before["requestsLeft"]) == ("session", str(PRICE), "10")
    for number in range(10):
        assert (await page.ask(session, str(number))).status_code == 200
    used_up = await page.ok("POST", "/ask/preview", paid)
    assert used_up["coveredBy"] == "free"
    for _ in range(FREE):
        await page.ok("POST", "/ask", ASKED)
    told = await page.ok("POST", "/ask/preview", paid)
    assert told["coveredBy"] == "payment"
    assert "top it up" in told["detail"]
    nothing = await page.ok("POST", "/ask/preview", {"method": "GET", "path": "/free"})
    assert nothing["coveredBy"] == "nothing"


async def test_a_free_ask_pays_nothing_and_says_who_it_is_not(shop: Shop, page: Page) -> None:
    """A page cannot speak for a session to the service behind, nor pass its own cookies on."""
    sneaky = {"x-retainer-session": "9wFF", "authorization": "Bearer x", "cookie": "a=b", "X-Plain": "1"}
    await page.ok("POST", "/ask", {**ASKED, "headers": sneaky})
    assert shop.upstream.header("x-plain") == "1"
    assert shop.upstream.header("x-retainer-session") is None
    assert shop.upstream.header("authorization") is None
    assert shop.upstream.header("cookie") is None
