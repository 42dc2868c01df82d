"""What a page is told as it happens: from the books, so that nothing is missed by whoever comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from tests.integration.conftest import AGENT, Shop, opened_shop
from tests.people import Event, Page, listening
from tests.shop import DEPOSIT, MINIMUM, PRICE

_SECONDS = 20


@pytest.fixture
def page(shop: Shop) -> Page:
    return Page(shop.http, AGENT)


async def following(events: AsyncIterator[Event], count: int) -> list[Event]:
    """The next events."""
    async with asyncio.timeout(_SECONDS):
        return [await anext(events) for _ in range(count)]


async def test_a_page_sees_its_invoice_paid_and_its_session_used_and_closed(shop: Shop, page: Page) -> None:
    invoice = await page.fund()
    async with listening(shop.app, page.token) as events:
        [waiting] = await following(events, 1)
        assert (waiting.name, waiting.data["ref"]) == ("invoice", invoice["invoiceId"])
        assert waiting.data["invoice"]["state"] == "waiting"
        assert waiting.data["scope"] == "session"
        await page.post(invoice)
        paid, opened = await following(events, 2)
        assert (paid.name, paid.data["invoice"]["state"]) == ("invoice", "active")
        assert (opened.name, opened.data["session"]["state"]) == ("session", "active")
        session = invoice["sessionId"]
        assert opened.data["session_id"] == session
        await page.ask(session)
        [asked] = await following(events, 1)
        assert (asked.name, asked.data["ref"], asked.data["amount"]) == ("request", "1", str(PRICE))
        assert asked.data["session"]["remaining"] == str(DEPOSIT - PRICE)
        await page.ok("POST", f"/sessions/{session}/close")
        states: list[str] = []
        while "refunded" not in states:
            [closing] = await following(events, 1)
            states.append(closing.data["session"]["state"])
        assert "token" not in str(waiting.data["invoice"])


async def test_who_comes_back_is_told_what_it_missed_once(shop: Shop, page: Page) -> None:
    """Two tabs see the same; one that was away gets the requests of meanwhile, in order, and no older ones."""
    session = await page.funded()
    await page.ask(session, "before")
    async with listening(shop.app, page.token) as events:
        first = await following(events, 2)
    assert [event.name for event in first] == ["invoice", "session"]
    for number in range(3):
        await page.ask(session, str(number))
    topup = await page.ok("POST", f"/sessions/{session}/topup", {"amount": str(MINIMUM)})
    await page.post(topup)
    async with listening(shop.app, page.token, first[-1].id) as events:
        missed = await following(events, 5)
    told = [(event.name, event.data["ref"]) for event in missed]
    assert told == [
        ("invoice", topup["invoiceId"]),
        ("request", "2"),
        ("request", "3"),
        ("request", "4"),
        ("session", session),
    ]
    async with listening(shop.app, page.token, missed[-1].id) as one, listening(shop.app, page.token) as fresh:
        await following(fresh, 3)
        await page.ask(session, "after")
        [seen], [seen_fresh] = await following(one, 1), await following(fresh, 1)
        assert (seen.data["ref"], seen_fresh.data["ref"]) == ("5", "5")


async def test_any_process_continues_a_stream(
    chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path, postgres_url: str
) -> None:
    """Funded at one, asked at another, followed at both: the books are what they share."""
    raw_settings["ledger"] = {"url": postgres_url}
    async with (
        opened_shop(chain, mint, raw_settings, tmp_path) as one,
        opened_shop(chain, mint, raw_settings, tmp_path) as other,
    ):
        page = Page(one.http, AGENT)
        session = await page.funded()
        elsewhere = Page(other.http, AGENT, page.token)
        async with listening(one.app, page.token) as events:
            known = await following(events, 2)
            assert (await elsewhere.ask(session)).status_code == 200
            [asked] = await following(events, 1)
            assert asked.data["ref"] == "1"
        async with listening(other.app, page.token, known[-1].id) as events:
            [again] = await following(events, 1)
            assert (again.name, again.data["ref"], again.id) == ("request", "1", asked.id)
        assert (await page.session(session))["spent"] == str(PRICE)


async def test_a_revoked_token_hears_that_and_nothing_more(shop: Shop, page: Page) -> None:
    session = await page.funded()
    async with listening(shop.app, page.token) as events:
        await following(events, 2)
        await page.call("DELETE", f"/sessions/{session}/token")
        [end] = await following(events, 1)
        assert (end.name, end.data["session_id"]) == ("token", session)
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_a_garbled_place_starts_afresh(shop: Shop, page: Page) -> None:
    await page.funded()
    for place in ("nonsense", "e30", "W10", "x" * 10_000):
        async with listening(shop.app, page.token, place) as events:
            assert [event.name for event in await following(events, 2)] == ["invoice", "session"]


async def test_streams_without_end_are_few(shop: Shop, page: Page) -> None:
    await page.funded()
    async with asyncio.timeout(_SECONDS):
        opened = [listening(shop.app, page.token) for _ in range(8)]
        streams = [await stream.__aenter__() for stream in opened]
        for events in streams:
            await following(events, 1)
        assert (await page.call("GET", "/events")).status_code == 429
        shop.app.stop()
        for stream in opened:
            await stream.__aexit__(None, None, None)
