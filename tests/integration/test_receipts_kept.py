"""The agent's half of an audit: every receipt is kept beside what the agent saw, whichever way it asked."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from retainer import SessionClient
from retainer.audit.reading import read_receipts
from retainer.errors import StoreError
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.errors import MessageError
from retainer.protocol.receipts import receipt_header
from retainer.stores.receipts import KeptReceipt, ReceiptFolder, read_kept
from tests.integration.conftest import AGENT, Shop, reply
from tests.shop import DEPOSIT, PRICE

URL = "http://localhost/paid/x"


class Delayed(httpx.AsyncBaseTransport):
    """The way to the shop, with so many seconds on the shop's clock between sending and the answer's head."""

    def __init__(self, shop: Shop, seconds: float, lost: int = 0) -> None:
        self._inner = httpx.ASGITransport(shop.app)
        self._shop = shop
        self._seconds = seconds
        self._lost = lost

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if "payment-receipt" in response.headers and request.headers.get("idempotency-key"):
            await self._shop.chain.sleep(self._seconds)
            if self._lost:
                self._lost -= 1
                await response.aclose()
                raise httpx.ReadError("lost", request=request)
        return response


@pytest.fixture
def make(shop: Shop, tmp_path: Path) -> Callable[..., SessionClient]:
    def client(transport: httpx.AsyncBaseTransport, **options: Any) -> SessionClient:  # noqa: ANN401
        settings = {
            "chain": shop.chain,
            "http": httpx.AsyncClient(transport=transport),
            "timer": shop.chain,
            "now": shop.clock.now,
            "deposit": DEPOSIT,
            "receipts": tmp_path / "receipts",
        }
        return SessionClient(AGENT, **{**settings, **options})

    return client


async def test_each_answer_is_kept_with_what_was_seen_of_it(
    shop: Shop, make: Callable[..., SessionClient], tmp_path: Path
) -> None:
    async with make(Delayed(shop, 1.5)) as client:
        for number in range(3):
            await client.request("POST", URL, content=b"%d" % number)
        [session] = await client.sessions()
    kept = list(read_kept(tmp_path / "receipts", session.session_id))
    assert [one.receipt.spent for one in kept] == [PRICE, 2 * PRICE, 3 * PRICE]
    for number, one in enumerate(kept):
        assert one.seen is not None
        assert (one.seen.status, one.seen.repeated) == (200, False)
        assert one.seen.first_byte_ms == one.seen.latency_ms == 1500, "by the client's own clock"
        assert one.seen.body_digest == body_digest(b"echo:%d" % number).hex()
        assert one.seen.request_digest == request_digest("POST", "/paid/x", b"%d" % number).hex()
        metered = one.receipt.retainer.metered if one.receipt.retainer else None
        assert metered is not None
        assert (metered.response_digest, metered.request_digest) == (one.seen.body_digest, one.seen.request_digest)
    [file] = (tmp_path / "receipts").iterdir()
    assert file.name == f"{session.session_id}.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(read_receipts(tmp_path / "receipts", session.pda)) == [1, 2, 3]


async def test_what_may_be_a_replay_is_marked(shop: Shop, make: Callable[..., SessionClient], tmp_path: Path) -> None:
    """Its latency is that of a look-up, and would make a slow service look fast."""
    async with make(Delayed(shop, 0.0, lost=1)) as client:
        await client.request("GET", URL)
        await client.request("GET", URL)
        [session] = await client.sessions()
    kept = list(read_kept(tmp_path / "receipts", session.session_id))
    assert [one.seen.repeated for one in kept if one.seen] == [True, False]


async def test_a_stream_is_kept_at_its_end_and_with_a_digest_only_where_it_was_read(
    shop: Shop, make: Callable[..., SessionClient], tmp_path: Path
) -> None:
    async with (
        make(Delayed(shop, 0.0)) as client,
        httpx.AsyncClient(transport=Delayed(shop, 0.0), auth=client.auth) as http,
    ):
        async with http.stream("GET", URL) as answer:
            assert [one async for one in answer.aiter_bytes()] == [b"echo:"]
        async with http.stream("GET", URL):
            pass
        [session] = await client.sessions()
    kept = list(read_kept(tmp_path / "receipts", session.session_id))
    assert [one.seen.body_digest for one in kept if one.seen] == [body_digest(b"echo:").hex(), None]


async def test_a_breach_that_is_not_charged_is_kept_too(
    shop: Shop, make: Callable[..., SessionClient], tmp_path: Path
) -> None:
    async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"sorry", 500)

    shop.upstream.app = broken
    async with make(Delayed(shop, 0.0)) as client:
        await client.request("GET", URL)
        [session] = await client.sessions()
    [kept] = read_kept(tmp_path / "receipts", session.session_id)
    assert kept.seen is not None
    assert (kept.seen.status, kept.seen.body_digest) == (500, body_digest(b"sorry").hex())
    assert kept.receipt.spent == 0


async def test_files_of_other_sessions_are_passed_by_and_bare_receipts_are_read(
    shop: Shop, make: Callable[..., SessionClient], tmp_path: Path
) -> None:
    folder = tmp_path / "receipts"
    async with make(Delayed(shop, 0.0)) as client:
        await client.request("GET", URL)
        [session] = await client.sessions()
        last = await client.receipt(session.session_id)
    assert last is not None
    (folder / "other.jsonl").write_text("what another session wrote")
    (folder / "by-hand.txt").write_text(f"{receipt_header(last)}\n\n")
    kept = list(read_kept(folder, session.session_id))
    assert [one.receipt for one in kept] == [last, last]
    assert sorted(one.seen is None for one in kept) == [False, True]
    (folder / "by-hand.txt").write_text("{}")
    with pytest.raises(MessageError, match=r"by-hand.txt, line 1, is no receipt: kept.receipt"):
        list(read_kept(folder, session.session_id))


async def test_a_folder_that_cannot_be_made_is_said_before_anything_is_paid(
    shop: Shop, make: Callable[..., SessionClient], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="receipts cannot be kept in"):
        make(Delayed(shop, 0.0), receipts=tmp_path / "file")


async def test_a_receipt_that_cannot_be_written_is_said(shop: Shop, tmp_path: Path) -> None:
    opening = await shop.opened()
    answer = await shop.use(opening)
    kept = KeptReceipt.from_line(answer.headers["payment-receipt"])
    (tmp_path / "session.jsonl").mkdir()
    with pytest.raises(StoreError, match="a receipt of session session cannot be kept"):
        ReceiptFolder(tmp_path).keep("session", kept)
