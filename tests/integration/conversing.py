"""A responder for tests, and a person's side of the cards API."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.integration.conftest import Shop
from tests.shop import Opening
from tests.times import until

SETTLED = frozenset({"active", "error", "archived", "needs_title"})


Arrived = Callable[[bytes], Awaitable[bytes]]
"""Waits until a stream has brought these bytes; all of it so far."""


@asynccontextmanager
async def streamed(app: ASGIApp, path: str, headers: Mapping[str, str]) -> AsyncIterator[Arrived]:
    """A GET whose answer is read as it comes, which httpx does not do in one process."""
    seen = bytearray()
    left: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        return await left

    async def send(message: Message) -> None:
        seen.extend(message.get("body", b""))

    async def arrived(wanted: bytes) -> bytes:
        async def there() -> bool:
            return wanted in seen

        await until(there)
        return bytes(seen)

    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": named}
    serving = asyncio.ensure_future(app(scope, receive, send))
    try:
        yield arrived
    finally:
        left.set_result({"type": "http.disconnect"})
        await asyncio.wait_for(serving, 10)


@dataclass
class Responder:
    """Answers chat completions; counts keys, and remembers what it was asked."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)
    fences: list[int] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    status: int = 200
    pieces: tuple[str, ...] = ()
    gate: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = json.loads(body)
        self.asked.append(request)
        self.keys[headers["idempotency-key"]] += 1
        self.fences.append(int(headers["x-retainer-fence"]))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
            await self._answer(request, send)
        finally:
            self.at_once -= 1

    async def _answer(self, request: dict[str, Any], send: Send) -> None:
        kind = b"text/event-stream" if self.pieces and request["stream"] else b"application/json"
        start: Message = {"type": "http.response.start", "status": self.status, "headers": [(b"content-type", kind)]}
        await send(start)
        if kind == b"application/json":
            said = request["messages"][-1]["content"]
            title = request["retainer"]["kind"] == "title"
            text = "A title 👩‍👩‍👧‍👦" * 20 if title else f"answer to {said}"
            answer = {"choices": [{"message": {"content": text}}], "retainer": {"resume": f"r{len(self.asked)}"}}
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
            return
        for piece in self.pieces:
            event = {"choices": [{"delta": {"content": piece}}]}
            data = f"data: {json.dumps(event)}\n\n".encode()
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await asyncio.sleep(0.4)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


@dataclass
class Person:
    """Somebody with a funded session."""

    shop: Shop
    opening: Opening

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """One request to the API, with the session's credential."""
        sent = {"Authorization": self.opening.use(), **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        content = None if body is None else json.dumps(body)
        return await self.shop.http.request(method, f"/api/{path}", headers=sent, content=content)

    async def good(self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Any:  # noqa: ANN401 - JSON
        """The same of one that must be accepted; its JSON."""
        answer = await self.call(method, path, body, **more)
        assert answer.is_success, answer.text
        return answer.json()

    async def card(self, **changes: Any) -> Any:  # noqa: ANN401 - JSON
        """A new card."""
        return await self.good("POST", "cards", {"responder": "ada", "creator": "me", **changes})

    async def settled(self, card: str) -> Any:  # noqa: ANN401 - JSON
        """The card with its thread, once nothing runs on it or waits."""

        async def is_settled() -> bool:
            found = await self.good("GET", f"cards/{card}")
            return found["status"] in SETTLED and (not found["waiting"] or found["status"] == "error")

        await until(is_settled)
        return await self.good("GET", f"cards/{card}")

    async def spent(self) -> int:
        """Base units charged to the session, as the books have it."""
        record = await self.shop.ledger.session(str(self.opening.action.channel_id))
        assert record is not None
        return record.spent
