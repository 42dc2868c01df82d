"""A person's page for tests: what the panel does, without a browser; and the wallet that signs what it is shown."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from solders.keypair import Keypair
from solders.transaction import Transaction
from starlette.types import ASGIApp, Message

Json = dict[str, Any]


@dataclass
class Page:
    """One browser on one service; `token` is what its local storage holds."""

    http: httpx.AsyncClient
    wallet: Keypair
    token: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> httpx.Response:
        """One call, as the page's fetch makes it: same origin, with its token."""
        sent = {"sec-fetch-site": "same-origin", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.token:
            sent.setdefault("authorization", f"Bearer {self.token}")
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.http.request(method, f"/api{path}", json=body, headers=sent)
        for name, value in answer.cookies.items():
            self.cookies[name] = value
        self.http.cookies.clear()
        return answer

    async def ok(self, method: str, path: str, body: Json | None = None, **headers: str) -> Json:
        """The same, where only success will do."""
        answer = await self.call(method, path, body, **headers)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def fund(self, amount: int = 1_000_000, offer: str = "standard") -> Json:
        """An invoice for this wallet; its token is kept."""
        invoice = await self.ok(
            "POST", "/sessions", {"offer": offer, "amount": str(amount), "payer": str(self.wallet.pubkey())}
        )
        self.token = invoice["token"]
        return invoice

    async def funded(self, amount: int = 1_000_000) -> str:
        """A session that is open; its id."""
        invoice = await self.fund(amount)
        paid = await self.post(invoice)
        assert paid["state"] == "active", paid
        return str(paid["sessionId"])

    async def post(self, invoice: Json) -> Json:
        """Sign an invoice's transaction and hand it over."""
        raw = base64.b64encode(self.sign(invoice["transaction"])).decode()
        return await self.ok("POST", f"/invoices/{invoice['invoiceId']}/transaction", {"transaction": raw})

    async def ask(self, session: str, text: str = "question", path: str = "/paid/x", **headers: str) -> httpx.Response:
        """One paid request."""
        asked = {"method": "POST", "path": path, "body": text}
        return await self.call("POST", f"/sessions/{session}/request", asked, **headers)

    async def session(self, session: str) -> Json:
        """The session as the page shows it."""
        return await self.ok("GET", f"/sessions/{session}")

    def sign(self, transaction: str) -> bytes:
        """The wallet's signature on what it was shown."""
        unsigned = Transaction.from_bytes(base64.b64decode(transaction))
        unsigned.partial_sign([self.wallet], unsigned.message.recent_blockhash)
        return bytes(unsigned)

    def sign_text(self, asked: Mapping[str, Any]) -> Json:
        """The wallet's signature on a text, with what goes back beside it."""
        signature = bytes(self.wallet.sign_message(str(asked["text"]).encode()))
        return {
            "nonce": asked["nonce"],
            "expiresAt": asked["expiresAt"],
            "signature": base64.b64encode(signature).decode(),
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    id: str
    name: str
    data: Json


async def events_of(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """The events of a stream's lines; comments are passed over."""
    said: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            said[name] = value.removeprefix(" ")
        elif "event" in said:
            yield Event(said["id"], said["event"], json.loads(said["data"]))
            said = {}
        else:
            said = {}


@asynccontextmanager
async def listening(app: ASGIApp, token: str, last: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
    """A token's events while the block runs; HTTP clients for ASGI apps wait for a whole answer, which never comes."""
    sent: asyncio.Queue[bytes | None] = asyncio.Queue()
    left = asyncio.Event()
    status: list[int] = []

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])
        else:
            sent.put_nowait(message["body"] or None)

    async def lines() -> AsyncIterator[str]:
        while chunk := await sent.get():
            for line in chunk.decode().split("\n")[:-1]:
                yield line

    headers = [(b"authorization", f"Bearer {token}".encode())]
    if last is not None:
        headers.append((b"last-event-id", last.encode()))
    scope = {"type": "http", "method": "GET", "path": "/api/events", "query_string": b"", "headers": headers}
    serving = asyncio.ensure_future(app(scope, receive, send))
    try:
        yield events_of(lines())
    finally:
        left.set()
        await serving
    assert status == [200]
