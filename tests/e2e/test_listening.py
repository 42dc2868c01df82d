"""What a real node announces is answered between two looks, of which the next is an hour away."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from retainer.chain.confirm import SystemTimer
from retainer.chain.notices import Notice, program_notices
from retainer.chain.rpc import RpcChain
from retainer.chain.testing import create_mint, mint_to
from retainer.localnet import airdrop
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.layouts import SESSION_OPERATOR_OFFSET
from retainer.protocol.session import SessionState
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.clock import SystemClock
from retainer_provider.settling.reclaim import Reclaimer
from retainer_provider.settling.watcher import ChainView, Watcher
from retainer_provider.settling.workers import Sweeper, WorkerOptions, Workers
from tests.books import DEPOSIT, PRICE
from tests.localnet import LocalValidator
from tests.trading import FUNDS, OPERATOR, PAYER, Trade

HOUR = 3600.0
PATIENCE = 30


@pytest.fixture
async def trade(own_localnet: LocalValidator, tmp_path: Path) -> AsyncIterator[Trade]:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    async with RpcChain(own_localnet.rpc_url) as chain:
        for keypair in (PAYER, OPERATOR):
            await airdrop(own_localnet.rpc_url, chain, keypair.pubkey(), 1_000_000_000)
        mint = await create_mint(chain, PAYER)
        await mint_to(chain, PAYER, owner=PAYER.pubkey(), mint=mint, amount=FUNDS)
        yield Trade(chain, ledger, mint, SystemTimer(), SystemClock())
    await ledger.aclose()


def listening(trade: Trade, heard: asyncio.Queue[Notice | None], url: str) -> Workers:
    subscribe = partial(program_notices, url, program=PROGRAM_ID, offset=SESSION_OPERATOR_OFFSET, key=OPERATOR.pubkey())

    async def notices() -> AsyncIterator[Notice | None]:
        async for notice in subscribe():
            heard.put_nowait(notice)
            yield notice

    chain, ledger, clock = trade.chain, trade.ledger, trade.clock
    options = WorkerOptions(watch_seconds=HOUR, settle_seconds=HOUR, sweep_seconds=HOUR)
    reclaimer = Reclaimer(chain=chain, ledger=ledger, operator=OPERATOR, program_id=PROGRAM_ID)
    return Workers(
        watcher=Watcher(chain=chain, ledger=ledger, clock=clock, view=ChainView(), exposure=trade.exposure()),
        sweeper=Sweeper(chain=chain, ledger=ledger, clock=clock, reclaimer=reclaimer, options=options),
        settler=trade.settler(poll_seconds=0.3),
        ledger=ledger,
        timer=trade.timer,
        options=options,
        notices=notices,
    )


async def seen(trade: Trade, session_id: str, *, deposit: int, state: SessionState) -> SessionRecord:
    async with asyncio.timeout(PATIENCE):
        while True:
            record = await trade.record(session_id)
            if (record.deposit, record.state) == (deposit, state):
                return record
            await asyncio.sleep(0.1)


async def test_a_top_up_and_an_exit_are_answered_as_they_are_announced(
    own_localnet: LocalValidator, trade: Trade
) -> None:
    session_id, heard = await trade.open(requests=3), asyncio.Queue[Notice | None]()
    async with listening(trade, heard, own_localnet.ws_url).running():
        async with asyncio.timeout(PATIENCE):
            assert await heard.get() is None
        await trade.top_up(session_id, 500)
        await seen(trade, session_id, deposit=DEPOSIT + 500, state=SessionState.ACTIVE)
        await trade.request_close(session_id)
        record = await seen(trade, session_id, deposit=DEPOSIT + 500, state=SessionState.REFUNDED)
    assert (record.settled, record.refund) == (3 * PRICE, DEPOSIT + 500 - 3 * PRICE)
    first = heard.get_nowait()
    assert first is not None
    assert str(first.address) == session_id
