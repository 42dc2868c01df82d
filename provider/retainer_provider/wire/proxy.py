"""The reverse proxy: an ASGI app that hands each request to an upstream in any language, target byte for byte.

It knows nothing of payment. The gate stands before it and decides what gets here.
"""

from collections.abc import AsyncIterator
from typing import Final

import httpx
from starlette.types import Message, Receive, Scope, Send

from retainer_provider.wire import headers
from retainer_provider.wire.failures import UpstreamUnreachableError

_CONNECT_SECONDS: Final = 5.0
# Servers drop a silent connection after 5 seconds (Node, uvicorn) or 2 (gunicorn): it is not to be used at that moment.
_IDLE_SECONDS: Final = 1.5
# What says that a request has a body.
_FRAMED: Final = frozenset({"content-length", "transfer-encoding"})
# May be sent again when a connection broke before the answer began (RFC 9110, 9.2.2), and have no body.
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class ReverseProxy:
    """Forwards to `base_url` (scheme, host and port). Redirects and cookies are the client's business."""

    def __init__(self, base_url: str, *, timeout: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._base = httpx.URL(base_url)
        # trust_env off: an HTTP_PROXY meant for something else must not see paid traffic.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            transport=transport,
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=_IDLE_SECONDS),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one HTTP request; UpstreamUnreachableError when no answer began."""
        request = self._request(scope, receive)
        try:
            response = await self._begin(request)
        except httpx.TransportError as error:
            raise UpstreamUnreachableError(f"{self._base}: {type(error).__name__}") from error
        try:
            said = headers.end_to_end(headers.decode(response.headers.raw))
            kept = [(name, value) for name, value in said if name != "date"]  # our server writes its own
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers.encode(kept)})
            # Raw: a compressed body goes on as it came, with the header that says so.
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await response.aclose()

    async def _begin(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._client.send(request, stream=True)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            # Most likely the upstream closed a kept connection just as the request was on its way.
            if request.method not in _REPEATABLE or _FRAMED & request.headers.keys():
                raise
            return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        """Close the connections to the upstream."""
        await self._client.aclose()

    def _request(self, scope: Scope, receive: Receive) -> httpx.Request:
        query: bytes = scope["query_string"]
        raw_path: bytes = scope["raw_path"]
        host = next(iter(headers.values(scope["headers"], "host")), "")
        replaced = {"host", "x-forwarded-host", "x-forwarded-proto"}
        kept = [(name, value) for name, value in headers.decode(scope["headers"]) if name not in replaced]
        framed = any(name in _FRAMED for name, _ in kept)
        return httpx.Request(
            scope["method"],
            self._base,
            headers=[
                ("host", self._base.netloc.decode("ascii")),
                *headers.end_to_end(kept),
                ("x-forwarded-host", host),
                ("x-forwarded-proto", scope["scheme"]),
            ],
            content=_stream(receive) if framed else None,
            # httpx would normalise a path in its URL; the upstream must see what the client wrote.
            extensions={"target": raw_path + (b"?" + query if query else b"")},
        )


async def _stream(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise UpstreamUnreachableError("the client left before its request was complete")
        yield message.get("body", b"")
        more = message.get("more_body", False)
