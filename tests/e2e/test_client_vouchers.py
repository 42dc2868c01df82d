"""retainer's client in voucher mode on a real validator: paid by itself or sponsored, with the balances on chain."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from solders.keypair import Keypair

from retainer import SessionClient, create_sqlite_channel_store
from retainer.localnet import LAMPORTS_PER_SOL, airdrop
from tools.demo import upstream_service
from tools.stage import OFFER, Stage, stage, write_keypair

SLOT_MS = 50  # finality takes 31 slots
FEE = 5_000

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stood(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    offers = OFFER.replace('"operator"', '"client"')
    async with (
        upstream_service() as upstream,
        stage(folder, upstream=upstream, offers=offers, slot_ms=SLOT_MS) as ready,
    ):
        yield ready


async def lamports(stood: Stage, owner: Keypair) -> int:
    info = await stood.chain.account(owner.pubkey())
    return 0 if info is None else info.lamports


async def live(stood: Stage, agent: Keypair, store: Path) -> None:
    """Open, ask, take up again in another process's stead, top up, ask, close: 12 requests of 0.008, 1.5 deposited."""
    tokens, paid = await stood.balance(agent.pubkey()), await stood.balance(stood.payee.pubkey())
    async with SessionClient(agent, rpc_url=stood.rpc_url, store=create_sqlite_channel_store(store)) as client:
        session = await client.create_session(stood.url, "1.0")
        for number in range(6):
            assert (await client.request("GET", stood.url, params={"q": number})).status_code == 200
    async with SessionClient(agent, rpc_url=stood.rpc_url, store=create_sqlite_channel_store(store)) as client:
        for number in range(5):
            assert (await client.request("GET", stood.url, params={"q": number})).status_code == 200
        assert (await client.top_up(session.session_id, "0.5")).deposit == 1_500_000
        assert (await client.request("GET", stood.url)).status_code == 200
        closed = await client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (12 * 8_000, 1_500_000 - 12 * 8_000)
    assert await stood.balance(agent.pubkey()) == tokens - 12 * 8_000
    assert await stood.balance(stood.payee.pubkey()) == paid + 12 * 8_000
    assert (await stood.chain.signatures_for(session.pda))[-1] == session.creation_signature


async def test_an_agent_pays_by_vouchers(stood: Stage, tmp_path: Path) -> None:
    agent = await stood.new_agent()
    before = await lamports(stood, agent)
    await live(stood, agent, tmp_path / "agent.sqlite")
    # Opening and top-up; the rent of the empty account comes back when nobody can open its address again.
    assert before - await lamports(stood, agent) >= 2 * FEE


async def test_a_sponsored_agent_needs_no_sol(stood: Stage, tmp_path: Path) -> None:
    sponsor = Keypair()
    await airdrop(stood.rpc_url, stood.chain, sponsor.pubkey(), LAMPORTS_PER_SOL)
    write_keypair(stood.folder / "sponsor.json", sponsor)
    await stood.service.stop()
    settings = stood.service.settings
    plain = settings.read_text()
    settings.write_text(plain.replace("[service]\n", '[service]\nsponsor_keypair = "sponsor.json"\n'))
    await stood.service.start()
    try:
        agent = await stood.new_agent()
        before = await lamports(stood, agent)
        await live(stood, agent, tmp_path / "agent.sqlite")
        assert await lamports(stood, agent) == before
        assert await lamports(stood, sponsor) <= LAMPORTS_PER_SOL - 2 * 2 * FEE
    finally:
        await stood.service.stop()
        settings.write_text(plain)
        await stood.service.start()
