"""The reverse proxy against a real socket: what arrives there, byte for byte, and what comes back."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.types import Message, Scope

from retainer_provider.clock import SystemClock
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.failures import UpstreamFailure, UpstreamUnreachableError
from retainer_provider.wire.proxy import ReverseProxy
from retainer_provider.wire.upstream import Upstream, UpstreamResult

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """A server that answers every connection with the same bytes and keeps what it read."""

    answer: bytes
    port: int = 0
    heard: bytes = b""
    drops: int = 0
    requests: int = 0
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heard = await self._read(reader)
            self.requests += 1
            writer.write(b"" if self.requests <= self.drops else self.answer)
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the proxy left
        finally:
            writer.close()
            await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        if b"content-length: " in lower:
            length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head + await reader.readexactly(length)
        if b"transfer-encoding: chunked" in lower:
            return head + await reader.readuntil(b"0\r\n\r\n")
        return head

    @property
    def request_line(self) -> bytes:
        return self.heard.partition(b"\r\n")[0]


@asynccontextmanager
async def serving(answer: bytes = OK) -> AsyncIterator[tuple[Server, ReverseProxy]]:
    server = Server(answer)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    proxy = ReverseProxy(f"http://127.0.0.1:{server.port}", timeout=5)
    try:
        yield server, proxy
    finally:
        await proxy.aclose()
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*server.connections)


def scope(raw_path: bytes = b"/a", query: bytes = b"", method: str = "GET", *headers: tuple[bytes, bytes]) -> Scope:
    return {
        "type": "http",
        "method": method,
        "scheme": "https",
        "path": raw_path.decode("latin-1"),
        "raw_path": raw_path,
        "query_string": query,
        "headers": [(b"host", b"shop.test"), *headers],
    }


async def called(proxy: ReverseProxy, what: Scope, body: bytes = b"") -> UpstreamResult:
    return await Upstream(proxy, clock=SystemClock(), limit=10_000, timeout=5).call(what, body)


@pytest.mark.parametrize(
    ("raw_path", "query", "target"),
    [
        (b"/a", b"", b"/a"),
        (b"/a%2Fb//c/../d", b"x=%20&x=1&y", b"/a%2Fb//c/../d?x=%20&x=1&y"),
        (b"/%E4%bd%a0", b"q={}|[]", b"/%E4%bd%a0?q={}|[]"),
        (b"/a", b"?", b"/a??"),
    ],
)
@pytest.mark.row("F19", attack="targets that a proxy would normalise", twin="priced and forwarded byte for byte")
async def test_the_target_arrives_byte_for_byte(raw_path: bytes, query: bytes, target: bytes) -> None:
    """F19: what was priced, digested and sold is what the upstream gets."""
    async with serving() as (server, proxy):
        await called(proxy, scope(raw_path, query))
        assert server.request_line == b"GET " + target + b" HTTP/1.1"


async def test_headers_and_body_arrive_and_the_host_is_the_upstreams() -> None:
    async with serving() as (server, proxy):
        what = scope(b"/a", b"", "POST", (b"content-length", b"5"), (b"x-a", b"1"), (b"connection", b"close"))
        await called(proxy, what, b"hello")
        head, _, body = server.heard.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert body == b"hello"
        assert b"host: 127.0.0.1:%d" % server.port in lines
        assert b"x-forwarded-host: shop.test" in lines
        assert b"x-forwarded-proto: https" in lines
        assert b"x-a: 1" in lines
        assert b"connection: close" not in lines


async def test_a_body_without_a_length_is_streamed_on() -> None:
    async with serving() as (server, proxy):
        messages: list[Message] = [
            {"type": "http.request", "body": b"he", "more_body": True},
            {"type": "http.request", "body": b"llo", "more_body": False},
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        await proxy(scope(b"/a", b"", "POST", (b"transfer-encoding", b"chunked")), receive, send)
        assert server.heard.endswith(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
        assert sent[0]["status"] == 200


async def test_a_compressed_answer_comes_back_as_it_was() -> None:
    packed = gzip.compress(b"hello")
    answer = b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    async with serving(answer) as (_, proxy):
        result = await called(proxy, scope())
        assert isinstance(result.outcome, Answer)
        assert (result.outcome.status, result.outcome.body) == (201, packed)
        assert ("content-encoding", "gzip") in result.outcome.headers


async def test_redirects_and_cookies_are_the_clients_business() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    async with serving(answer) as (server, proxy):
        for _ in range(2):
            result = await called(proxy, scope())
            assert isinstance(result.outcome, Answer)
            assert result.outcome.status == 302
        assert b"cookie" not in server.heard.lower()


async def test_an_answer_cut_short_is_broken() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as (_, proxy):
        assert (await called(proxy, scope())).outcome is UpstreamFailure.BROKEN


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
async def test_no_answer_or_no_http_is_unreachable(answer: bytes) -> None:
    async with serving(answer) as (_, proxy):
        assert (await called(proxy, scope())).outcome is UpstreamFailure.UNREACHABLE


@pytest.mark.parametrize(
    ("method", "drops", "seen"), [("GET", 1, 2), ("HEAD", 1, 2), ("GET", 2, 2), ("POST", 1, 1), ("DELETE", 1, 1)]
)
async def test_a_connection_that_ends_before_the_answer_is_tried_once_more_where_that_is_safe(
    method: str, drops: int, seen: int
) -> None:
    async with serving() as (server, proxy):
        server.drops = drops
        result = await called(proxy, scope(method=method))
        assert isinstance(result.outcome, Answer) is (drops < seen)
        assert server.requests == seen


async def test_a_request_with_a_body_is_not_sent_twice() -> None:
    async with serving() as (server, proxy):
        server.drops = 1
        result = await called(proxy, scope(b"/a", b"", "GET", (b"content-length", b"2")), b"hi")
        assert result.outcome is UpstreamFailure.UNREACHABLE
        assert server.requests == 1


async def test_a_port_that_nobody_listens_on_is_unreachable() -> None:
    proxy = ReverseProxy("http://127.0.0.1:1", timeout=5)
    assert (await called(proxy, scope())).outcome is UpstreamFailure.UNREACHABLE
    await proxy.aclose()


async def test_a_client_that_leaves_a_free_upload_stops_it() -> None:
    async with serving() as (_, proxy):

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(_message: Message) -> None:
            pytest.fail("there was no answer")

        with pytest.raises(UpstreamUnreachableError):
            await proxy(scope(b"/a", b"", "POST", (b"content-length", b"5")), receive, send)
