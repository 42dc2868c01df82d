"""An upstream that hangs, resets, answers late or answers for ever, over real sockets: free, told, and over in time."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.problems import ProblemType, parse_problem
from retainer_provider.wire.proxy import ReverseProxy
from tests.integration.conftest import Shop, Upstream, opened_shop, receipt
from tests.shop import PRICE

Answering: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNK = b"4\r\ndrip\r\n"
# What the service gives an upstream; every fault that does not end by itself is ended by it.
PATIENCE_SECONDS = 1


async def hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_within(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 10\r\n\r\nhalf")
    await writer.drain()
    await asyncio.Event().wait()


async def reset(writer: asyncio.StreamWriter) -> None:
    # Lingering for no time, the socket is closed by a reset instead of a farewell.
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_within(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 10\r\n\r\nhalf")
    await writer.drain()
    await reset(writer)


async def drip_for_ever(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(CHUNK)
        await writer.drain()
        await asyncio.sleep(0.05)


async def pour_for_ever(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
        await writer.drain()


async def answer(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 5\r\n\r\nright")
    await writer.drain()


@asynccontextmanager
async def upstream_that(behaviour: list[Answering]) -> AsyncIterator[Upstream]:
    """A service on a real socket that does the first thing that is left, and keeps to the last."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await (behaviour.pop(0) if len(behaviour) > 1 else behaviour[0])(writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(serve(reader, writer)))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    proxy = ReverseProxy(f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS)
    try:
        yield Upstream(app=proxy)
    finally:
        await proxy.aclose()
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


OpenShop: TypeAlias = Callable[[Upstream], AbstractAsyncContextManager[Shop]]


@pytest.fixture
def open_shop(chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path) -> OpenShop:
    """Opens a service that has little patience."""
    raw_settings["limits"]["upstream_seconds"] = PATIENCE_SECONDS
    return partial(opened_shop, chain, mint, raw_settings, tmp_path)


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        # Silence before the head is the transport's to notice, a head without an end the service's own clock's.
        ([hang], {502, 504}),
        ([hang_within], {502, 504}),
        ([reset, reset], {502}),  # a GET without an answer is sent once more
        ([reset_within], {502}),
        ([drip_for_ever], {504}),
        ([pour_for_ever], {502}),
    ],
)
async def test_a_broken_answer_is_free_and_the_next_one_is_sold(
    open_shop: OpenShop, faults: list[Answering], status: set[int]
) -> None:
    """F12: no fault of the upstream's is charged, holds the money, or outlives the time that it is given."""
    async with (
        upstream_that([*faults, answer]) as upstream,
        open_shop(upstream) as shop,
    ):
        opening = await shop.opened()
        broken = await shop.use(opening, method="GET", key="one", content=None)
        assert broken.status_code in status
        assert parse_problem(broken.content).type == ProblemType.UPSTREAM_UNAVAILABLE
        told = receipt(broken)
        assert told.retainer is not None
        assert told.retainer.metered is not None
        assert (told.spent, told.retainer.metered.charged) == (0, False)
        record = await shop.ledger.session(str(opening.action.channel_id))
        assert record is not None
        assert (record.spent, record.reserved, record.free_answers) == (0, 0, 1)
        again = await shop.use(opening, method="GET", key="one", content=None)
        assert (again.status_code, again.content) == (broken.status_code, broken.content), "the same key, the same end"
        sold = await shop.use(opening, method="GET", key="two", content=None)
        assert (sold.status_code, sold.content, receipt(sold).spent) == (200, b"right", PRICE)


async def test_an_answer_that_comes_too_late_reaches_nobody_and_costs_nothing(
    open_shop: OpenShop,
) -> None:
    """F12: the upstream's answer to a request that was given up is not mistaken for that of the next."""
    given_up, sent = asyncio.Event(), asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await given_up.wait()
        with contextlib.suppress(OSError):
            writer.write(HEAD + b"Content-Length: 4\r\n\r\nlate")
            await writer.drain()
        sent.set()

    async with (
        upstream_that([late, answer]) as upstream,
        open_shop(upstream) as shop,
    ):
        opening = await shop.opened()
        broken = await shop.use(opening, method="GET", key="one", content=None)
        assert broken.status_code in {502, 504}
        given_up.set()
        await sent.wait()
        sold = await shop.use(opening, method="GET", key="two", content=None)
        assert (sold.content, receipt(sold).spent) == (b"right", PRICE)
        again = await shop.use(opening, method="GET", key="one", content=None)
        assert again.content == broken.content
