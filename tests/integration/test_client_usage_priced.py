"""retainer's own client on routes that cost by use: it reserves and signs for the most, and goes by the receipt."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from retainer import SessionClient, SpendingCaps, TopUpPolicy, create_channel_store
from retainer.channels.channel import Channel
from retainer.errors import CapError, ReceiptError
from retainer.flows.streams import MeteredBody
from retainer.protocol.digests import body_digest
from retainer.protocol.receipts import Receipt
from retainer.stores import SessionStore
from retainer.stores.receipts import KeptReceipt
from tests.integration.conftest import AGENT, Shop
from tests.integration.test_usage_priced import ROUTES, flowing, saying
from tests.shop import DEPOSIT, PRICE

URL = "http://localhost/paid"

Make: TypeAlias = Callable[..., SessionClient]


@pytest.fixture(params=["client", "operator"])
def raw_settings(raw_settings: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """Both modes."""
    raw_settings["offers"]["standard"] |= {"routes": ROUTES, "voucher_signer": request.param}
    raw_settings["limits"]["upstream_seconds"] = 1
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


def units(answer: httpx.Response) -> int:
    receipt = answer.extensions["retainer"]
    assert isinstance(receipt, Receipt)
    assert receipt.retainer is not None
    assert receipt.retainer.metered is not None
    return receipt.retainer.metered.units


async def test_a_first_402_tells_the_maximum_and_receipts_the_use(shop: Shop, make: Make) -> None:
    store = create_channel_store()
    async with make(store=store) as client:
        for said in ("7", "0", "10", "1"):
            shop.upstream.app = saying(said)
            assert units(await client.request("GET", f"{URL}/said")) == int(said)
        channel = await only(store)
        assert (channel.book.spent, channel.book.exposed, channel.dispute) == (18 * PRICE, 0, None)
        # Nothing is signed beyond what the dearest request could have cost when it left.
        assert channel.signed in {0, 17 * PRICE + 10 * PRICE}


async def test_a_dearer_route_of_the_same_session_is_learnt_without_loss(shop: Shop, make: Make) -> None:
    """402 'needs N units' raises the reserve and pays again."""
    store = create_channel_store()
    async with make(store=store) as client:
        shop.upstream.app = saying("7")
        assert units(await client.request("GET", f"{URL}/plain")) == 1
        assert units(await client.request("GET", f"{URL}/said")) == 7
        assert units(await client.request("GET", f"{URL}/fixed")) == 3
        channel = await only(store)
        assert (channel.book.spent, channel.book.requests, channel.book.exposed) == (11 * PRICE, 3, 0)


async def test_caps_hold_for_the_maximum(shop: Shop, make: Make) -> None:
    shop.upstream.app = saying("1")
    async with make(caps=SpendingCaps(per_request=9 * PRICE)) as client:
        await client.request("GET", f"{URL}/plain")
        with pytest.raises(CapError, match=r"costs 0\.08, above the cap"):
            await client.request("GET", f"{URL}/said")
        [session] = await client.sessions()
        assert session.spent == PRICE
    async with make(caps=SpendingCaps(per_request=9 * PRICE)) as client:
        with pytest.raises(CapError, match="nothing was signed"):
            await client.request("GET", f"{URL}/said")
        assert await client.sessions() == []


async def test_a_session_is_topped_up_for_the_maximum(shop: Shop, make: Make) -> None:
    shop.upstream.app = saying("2")
    async with make(deposit=15 * PRICE, top_up=TopUpPolicy(below=0, amount=5 * PRICE)) as client:
        for _ in range(6):
            assert units(await client.request("GET", f"{URL}/said")) == 2
        [session] = await client.sessions()
        assert (session.spent, session.deposit) == (12 * PRICE, 20 * PRICE)


async def test_a_stream_is_entered_when_it_has_been_read(shop: Shop, make: Make) -> None:
    store = create_channel_store()
    shop.upstream.app = flowing(b"data: a\n\n", b"data: b\n\n")
    async with make(store=store) as client:
        for _ in range(2):
            answer = await client.request("POST", f"{URL}/events", content=b"the same")
            assert answer.content.startswith(b"data: a\n\ndata: b\n\nevent: payment-receipt\n")
            assert units(answer) == 2
        channel = await only(store)
        assert (channel.book.spent, channel.book.exposed, channel.dispute) == (4 * PRICE, 0, None)


async def test_a_stream_that_is_left_is_accounted_for_before_the_next_request(shop: Shop, make: Make) -> None:
    """F12: the caller does not read to the end; the receipt is fetched, and nothing is served or charged twice."""
    store = create_channel_store()
    shop.upstream.app = flowing(b"data: a\n\n", b"data: b\n\n")
    async with (
        make(store=store) as client,
        httpx.AsyncClient(transport=httpx.ASGITransport(shop.app), auth=client.auth) as http,
    ):
        async with http.stream("GET", f"{URL}/events") as answer:
            assert answer.status_code == 200
        assert (await only(store)).book.exposed == 5
        assert units(await http.get(f"{URL}/events")) == 2
        channel = await only(store)
        assert (channel.book.spent, channel.book.requests, channel.book.exposed) == (4 * PRICE, 2, 0)


async def test_of_a_stream_the_receipt_at_its_end_is_kept(shop: Shop, make: Make, tmp_path: Path) -> None:
    shop.upstream.app = flowing(b"data: a\n\n", b"data: b\n\n")
    async with make(receipts=tmp_path / "kept") as client:
        answer = await client.request("GET", f"{URL}/events")
    [path] = (tmp_path / "kept").iterdir()
    kept = KeptReceipt.from_line(path.read_text().strip())
    assert (kept.receipt, kept.seen) == (answer.extensions["retainer"], None)


def test_a_program_without_an_event_loop_reads_streams_too() -> None:
    told: list[tuple[str | None, bytes]] = []

    async def ended(text: str | None, digest: bytes) -> None:
        told.append((text, digest))

    events, receipt = b"data: %s\n\n" % (b"x" * 9_000), b"event: payment-receipt\ndata: abc\n\n"
    body = MeteredBody(httpx.ByteStream(events + receipt), ended)
    body.wait = asyncio.run
    assert b"".join(body) == events + receipt
    body.close()
    assert told == [("abc", body_digest(events))]
    with pytest.raises(TypeError, match="on an event loop"):
        list(MeteredBody(httpx.AsyncByteStream(), ended))


async def test_a_stream_whose_receipt_does_not_fit_it_is_a_dispute(shop: Shop, make: Make) -> None:
    """F29: something was left out or put in on the way."""
    shop.upstream.app = flowing(b"data: a\n\n", b"data: b\n\n")
    inner = httpx.ASGITransport(shop.app)

    class Altering(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await inner.handle_async_request(request)
            body = await answer.aread()
            kept = [(name, value) for name, value in answer.headers.raw if name.lower() != b"content-length"]
            return httpx.Response(answer.status_code, headers=kept, content=body.replace(b"data: b\n\n", b""))

    store = create_channel_store()
    async with make(store=store, http=httpx.AsyncClient(transport=Altering())) as client:
        with pytest.raises(ReceiptError, match="for another answer"):
            await client.request("GET", f"{URL}/events")
        assert (await only(store)).dispute is not None
