"""An agent with ten tokens, a service, and a client that trusts neither more than it must."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest_asyncio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.testing import create_mint, mint_to, token_balance
from retainer.session_client import SessionClient
from retainer.stores.memory import MemoryChannelStore
from retainer.trust.caps import SpendingCaps
from tests.unit.client.service import NOW, Service

CAPS = SpendingCaps(per_session="1.0", per_request="0.01")


@dataclass(slots=True)
class Stage:
    """Everything a test needs; amounts in base units of a token with six decimals."""

    chain: FakeChain
    agent: Keypair
    mint: Pubkey
    service: Service
    store: MemoryChannelStore
    client: SessionClient

    def another(self, caps: SpendingCaps = CAPS, **options: object) -> SessionClient:
        """A client of the same agent with other settings."""
        return make_client(self.chain, self.agent, self.service, caps=caps, **options)

    async def agent_tokens(self) -> int:
        return await token_balance(self.chain, self.agent.pubkey(), self.mint)

    async def service_tokens(self) -> int:
        return await token_balance(self.chain, self.service.operator.pubkey(), self.mint)

    def http(self, **options: object) -> httpx.AsyncClient:
        """A plain httpx client that reaches the service."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.service), **options)  # type: ignore[arg-type]


def make_client(chain: FakeChain, agent: Keypair, service: Service, **options: object) -> SessionClient:
    settings: dict[str, object] = {
        "chain": chain,
        "caps": CAPS,
        "http": httpx.AsyncClient(transport=httpx.MockTransport(service)),
        "now": lambda: NOW,
        "timer": chain,
        **options,
    }
    return SessionClient(agent, **settings)  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    chain, agent, operator, faucet = FakeChain(), Keypair(), Keypair(), Keypair()
    for person in (agent, operator, faucet):
        chain.fund(person.pubkey())
    mint = await create_mint(chain, faucet, clock=chain)
    await mint_to(chain, faucet, owner=agent.pubkey(), mint=mint, amount=10_000_000, clock=chain)
    service = Service(chain, operator, mint)
    store = MemoryChannelStore()
    async with make_client(chain, agent, service, store=store) as client:
        yield Stage(chain, agent, mint, service, store, client)
