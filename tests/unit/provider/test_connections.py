"""Connections that waste the server's time are dropped, on real sockets (F21)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from retainer_provider.cli.connections import bounded_connections

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
LARGE = 50_000_000
BODIES = asyncio.Event()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    body = b"x" * LARGE if scope["path"] == "/large" else b"here"
    if scope["path"] == "/told":
        body = b"%04d" % sum(name.startswith(b"x-") for name, _ in scope["headers"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    if scope["path"] == "/slow":
        await BODIES.wait()
    for start in range(0, len(body), 1_000_000):
        more = start + 1_000_000 < len(body)
        await send({"type": "http.response.body", "body": body[start : start + 1_000_000], "more_body": more})


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Ends]]


@asynccontextmanager
async def served(*, most: int, seconds: float) -> AsyncIterator[Connect]:
    """A server with these bounds, as something that connects to it."""
    config = uvicorn.Config(
        app,
        http=bounded_connections(most=most, seconds=seconds, head_limit=65_536),
        lifespan="off",
        log_config=None,
        ws="none",
    )
    server, opened = uvicorn.Server(config), list[Ends]()

    async def connect() -> Ends:
        opened.append(await asyncio.open_connection("127.0.0.1", listener.getsockname()[1], limit=1_000_000))
        return opened[-1]

    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield connect
        finally:
            for _, writer in opened:
                writer.transport.abort()
            server.should_exit = True
            await task


async def ended(reader: asyncio.StreamReader) -> bool:
    """Waits for the connection's end; whether nothing came before it."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def asked(ends: Ends) -> bytes:
    reader, writer = ends
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return await reader.readexactly(4)


@pytest.mark.row("F21", attack="sockets that stay silent, and heads that drip", twin="who asks is answered")
async def test_who_does_not_finish_a_head_in_time_is_dropped() -> None:
    async with served(most=100, seconds=0.5) as connect:
        silent, _ = await connect()
        slow, dripping = await connect()

        async def drip() -> None:
            for byte in REQUEST[:-2] + b"X-Slow: " + b"x" * 10_000:
                dripping.write(bytes([byte]))
                await asyncio.sleep(0.02)

        task = asyncio.create_task(drip())
        assert await ended(silent)
        assert await ended(slow)
        task.cancel()
        assert await asked(await connect()) == b"here"


async def test_a_connection_is_kept_for_the_next_request_and_dropped_when_that_drips() -> None:
    async with served(most=100, seconds=0.5) as connect:
        reader, writer = await connect()
        assert [await asked((reader, writer)), await asked((reader, writer))] == [b"here", b"here"]
        writer.write(REQUEST[:5])
        assert await ended(reader)


@pytest.mark.row("F21", attack="a client that does not take in its answer", twin="one that does gets all of it")
async def test_who_does_not_read_its_answer_is_dropped() -> None:
    async with served(most=100, seconds=0.5) as connect:
        reader, writer = await connect()
        writer.write(REQUEST.replace(b"/ ", b"/large "))
        await asyncio.sleep(2)  # longer than the server has patience
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(LARGE)
        reader, writer = await connect()
        writer.write(REQUEST.replace(b"/ ", b"/large "))
        await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.readexactly(LARGE)) == LARGE


@pytest.mark.row("F21", attack="200 idle sockets, 20 allowed", twin="who asks meanwhile is answered")
async def test_idle_sockets_make_room_for_who_asks() -> None:
    async with served(most=20, seconds=30) as connect:
        idle = [await connect() for _ in range(200)]
        answers = [await asked(await connect()) for _ in range(50)]
        assert answers == [b"here"] * 50
        assert all([await ended(reader) for reader, _ in idle])


@pytest.mark.row("F21", attack="a head of 10 MB", twin="an ordinary one is answered")
async def test_an_endless_head_is_refused_before_it_is_held() -> None:
    async with served(most=20, seconds=30) as connect:
        reader, writer = await connect()
        writer.write(REQUEST[:-2] + b"X-Large: ")
        with suppress(ConnectionError):
            for _ in range(10_000):
                writer.write(b"x" * 1_000)
                await writer.drain()
        with suppress(ConnectionError):
            assert (await reader.read(12)) in (b"", b"HTTP/1.1 400")
        assert await asked(await connect()) == b"here"


@pytest.mark.row(
    "F21", attack="1000 requests sent at once on one connection", twin="a few of them are answered in turn"
)
async def test_few_requests_wait_for_each_other_on_a_connection() -> None:
    async with served(most=20, seconds=30) as connect:
        reader, writer = await connect()
        writer.write(REQUEST * 10)
        for _ in range(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(4) == b"here"
        writer.write(REQUEST * 1_000)
        assert (await reader.read()).count(b"HTTP/1.1 200") < 20


@pytest.mark.row("F19", attack="a header after the body", twin="one before it")
async def test_what_follows_a_body_is_no_header() -> None:
    chunked = b"POST /told HTTP/1.1\r\nHost: here\r\nX-Before: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(most=20, seconds=30) as connect:
        reader, writer = await connect()
        writer.write(chunked + b"1\r\nx\r\n0\r\nX-After: 1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(4) == b"0001"


@pytest.mark.parametrize("hosts", [b"", b"Host: here\r\nHost: there\r\n"], ids=["none", "two"])
async def test_a_request_without_one_host_is_refused(hosts: bytes) -> None:
    async with served(most=20, seconds=30) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        assert await asked(await connect()) == b"here"


async def test_the_head_of_an_answer_does_not_wait_for_a_body_that_takes_its_time() -> None:
    async with served(most=20, seconds=30) as connect:
        reader, writer = await connect()
        writer.write(REQUEST.replace(b"/ ", b"/slow "))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        head_only = asyncio.create_task(reader.readexactly(4))
        await asyncio.sleep(0.1)
        assert not head_only.done()
        BODIES.set()
        assert await head_only == b"here"


async def test_an_answer_without_a_body_is_sent() -> None:
    async with served(most=20, seconds=30) as connect:
        reader, writer = await connect()
        writer.write(REQUEST.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
