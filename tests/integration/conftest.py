"""A whole service in this process: the real program on the fake chain, a real ledger file, a scripted upstream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import pytest_asyncio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retainer.chain.fake import FakeChain
from retainer.chain.testing import create_mint, mint_to
from retainer.protocol.problems import Problem, parse_problem
from retainer.protocol.receipts import Receipt, parse_receipt, verify_receipt
from retainer.protocol.session import SessionState
from retainer.protocol.views import SessionView
from retainer_provider.app import RetainerApp, create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.stores.chosen import open_ledger
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.settings import Settings, settings_from
from tests.leaks import without_leaks, written_of
from tests.shop import SECRET, SIGNER, Agent, Opening, table
from tests.times import PATIENCE_SECONDS, ChainClock, Pace

OPERATOR = Keypair.from_seed(b"o" * 32)
AGENT = Keypair.from_seed(b"a" * 32)
TOKENS = 10_000_000
SECRETS = written_of(
    {"the operator's key": OPERATOR, "the agent's key": AGENT, "the voucher signer's key": SIGNER},
    {"the challenge secret": SECRET.decode()},
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return without_leaks((yield), SECRETS)


@dataclass
class Upstream:
    """The service behind the gate: echoes, unless told otherwise; remembers what it was asked."""

    asked: list[tuple[Scope, bytes]] = field(default_factory=list)
    app: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("no lifespan")
        if self.app is not None:
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.asked.append((scope, body))
        await reply(send, b"echo:" + body)

    def header(self, name: str, request: int = -1) -> str | None:
        """A header of one of the requests it was asked, the last by default."""
        headers = dict(self.asked[request][0]["headers"])
        value = headers.get(name.encode())
        return None if value is None else value.decode()


async def reply(send: Send, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    """A whole ASGI answer."""
    start: Message = {"type": "http.response.start", "status": status, "headers": list(headers)}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def raw_request(app: ASGIApp, raw_path: bytes, authorization: str) -> int:
    """The status of a GET whose path no HTTP client would leave as it is."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": b"",
        "headers": [(b"authorization", authorization.encode())],
    }
    await app(scope, receive, send)
    [status] = statuses
    return status


@dataclass
class Shop:
    """A running service, and what one can do with it."""

    chain: FakeChain
    agent: Agent
    mint: Pubkey
    settings: Settings
    ledger: Ledger
    upstream: Upstream
    pace: Pace
    clock: ChainClock
    app: RetainerApp
    http: httpx.AsyncClient

    async def challenge(self) -> str:
        """The header of a fresh challenge."""
        answer = await self.http.get("/paid/x")
        assert answer.status_code == 402, answer.text
        header: str = answer.headers["www-authenticate"]
        return header

    async def send(
        self,
        header: str,
        method: str = "GET",
        path: str = "/paid/x",
        *,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request with a credential."""
        return await self.http.request(
            method, path, headers={"Authorization": header, **(headers or {})}, content=content
        )

    async def opened(self, **spoiled: object) -> Opening:
        """An ACTIVE session."""
        opening = self.agent.open(await self.challenge(), **spoiled)  # type: ignore[arg-type]
        answer = await self.send(opening.header)
        assert answer.status_code == 200, answer.text
        return opening

    async def use(
        self,
        opening: Opening,
        path: str = "/paid/x",
        *,
        method: str = "POST",
        key: str | None = None,
        content: bytes | AsyncIterator[bytes] | None = b"question",
    ) -> httpx.Response:
        """One metered request."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.send(opening.use(), method, path, headers=headers, content=content)

    async def settled(self, opening: Opening) -> SessionRecord:
        """Let the workers work until the session is settled; its record then."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                record = await self.ledger.session(str(opening.action.channel_id))
                assert record is not None
                if record.state is SessionState.REFUNDED:
                    return record
                await self.pace.tick()

    async def view(self, opening: Opening) -> SessionView:
        answer = await self.send(opening.use(), path=f"/api/sessions/{opening.action.channel_id}")
        assert answer.status_code == 200, answer.text
        return SessionView.from_json(answer.json())


def problem(answer: httpx.Response) -> Problem:
    """The problem of a refusal, which is never cached, never receipted and always says what to do."""
    assert answer.headers["cache-control"] == "no-store"
    assert "payment-receipt" not in answer.headers
    found = parse_problem(answer.content)
    assert found.status == answer.status_code
    assert found.detail.endswith(".")
    return found


def receipt(answer: httpx.Response) -> Receipt:
    """The receipt of an answer, signed by the operator."""
    found = parse_receipt(answer.headers["payment-receipt"])
    assert verify_receipt(found, OPERATOR.pubkey())
    assert answer.headers["cache-control"] == "private, no-store"
    return found


@pytest_asyncio.fixture
async def chain() -> FakeChain:
    chain = FakeChain(finality_lag=32)
    chain.fund(OPERATOR.pubkey())
    chain.fund(AGENT.pubkey())
    return chain


@pytest_asyncio.fixture
async def mint(chain: FakeChain) -> Pubkey:
    authority = Keypair.from_seed(b"m" * 32)
    chain.fund(authority.pubkey())
    mint = await create_mint(chain, authority, clock=chain)
    for owner in (AGENT.pubkey(), OPERATOR.pubkey()):
        await mint_to(chain, authority, owner=owner, mint=mint, amount=TOKENS, clock=chain)
    return mint


@pytest.fixture
def raw_settings(mint: Pubkey) -> dict[str, Any]:
    """The settings table, for tests to change before the shop opens."""
    return table(mint)


@pytest_asyncio.fixture
async def shop(chain: FakeChain, mint: Pubkey, raw_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        yield shop


@asynccontextmanager
async def opened_shop(
    chain: FakeChain, mint: Pubkey, raw: dict[str, Any], folder: Path, upstream: Upstream | None = None
) -> AsyncIterator[Shop]:
    """A service that runs in the block; in the same folder it finds the books of the one before."""
    if not (folder / "operator.json").exists():
        write_private(folder / "operator.json", keypair_text(OPERATOR))
    settings = settings_from(raw, {}, base=folder)
    upstream, pace, clock = upstream or Upstream(), Pace(), ChainClock(chain)
    ledger = await open_ledger(settings)
    around = Surroundings(chain=chain, ledger=ledger, clock=clock, timer=chain, pace=pace)
    app = create_app(settings, upstream=upstream, surroundings=around)
    try:
        async with (
            app.running(),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as http,
        ):
            # Watcher, sweeper, settler, cut streams, invoices; and what pays out meanwhile, where an offer asks for it.
            await pace.waited_for(5 + any(offer.settle_above is not None for offer in settings.offers.values()))
            yield Shop(chain, Agent(AGENT), mint, settings, ledger, upstream, pace, clock, app, http)
    finally:
        await ledger.aclose()
