"""Only the program's own word, in a final transaction, says how a session ended."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import TransactionInfo
from retainer.protocol.constants import PROGRAM_ID
from retainer_provider.settling.removal import Removal, RemovalKind, find_removal, removal_in
from tests.books import DEPOSIT, GRACE, PRICE
from tests.nodes import Node
from tests.trading import Trade, trade_on


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def trade(node: Node, tmp_path: Path) -> AsyncIterator[Trade]:
    async with trade_on(node, tmp_path / "ledger.db") as trade:
        yield trade


async def closed(trade: Trade, node: Node) -> tuple[Pubkey, TransactionInfo]:
    session_id = await trade.closing(requests=3)
    await trade.settler().settle(session_id)
    return Pubkey.from_string(session_id), await node.landed(
        (await trade.record(session_id)).settlement_signature or ""
    )


async def test_a_close_tells_settled_and_deposit(node: Node, trade: Trade) -> None:
    session, info = await closed(trade, node)
    found = await find_removal(node, session, PROGRAM_ID)
    assert found == Removal(RemovalKind.CLOSED, info.signature, 3 * PRICE, DEPOSIT)  # type: ignore[arg-type] # amounts


async def test_a_withdrawal_tells_settled(node: Node, trade: Trade) -> None:
    session_id = await trade.open(expires_at=trade.clock.now() + 60)
    await trade.pay_out(session_id, 2)
    node.advance(seconds=60 + GRACE + 1)
    signature = await trade.withdraw(session_id)
    session = Pubkey.from_string(session_id)
    assert await find_removal(node, session, PROGRAM_ID) is None, "not final yet"
    node.advance(slots=40)
    found = await find_removal(node, session, PROGRAM_ID)
    assert found == Removal(RemovalKind.WITHDRAWN, signature, 2 * PRICE, None)  # type: ignore[arg-type] # an amount


async def test_an_open_session_was_not_removed(node: Node, trade: Trade) -> None:
    session = Pubkey.from_string(await trade.open())
    node.advance(slots=40)
    assert await find_removal(node, session, PROGRAM_ID) is None
    assert await find_removal(node, Keypair().pubkey(), PROGRAM_ID) is None


async def test_another_session_closed_in_the_same_breath_is_another(node: Node, trade: Trade) -> None:
    _, info = await closed(trade, node)
    assert removal_in(info, Keypair().pubkey(), PROGRAM_ID) is None


async def test_a_failed_transaction_removed_nothing(node: Node, trade: Trade) -> None:
    session, info = await closed(trade, node)
    assert removal_in(info, session, PROGRAM_ID) is not None
    assert removal_in(replace(info, error='"AccountInUse"'), session, PROGRAM_ID) is None


@pytest.mark.row(
    "F05", attack="a program of the payer's logs that everything was refunded", twin="our program's event counts"
)
async def test_a_forged_event_of_another_program_counts_for_nothing(node: Node, trade: Trade) -> None:
    """F05: a program of the payer's own logs that everything was refunded."""
    session, info = await closed(trade, node)
    (truth,) = [line for line in info.logs if line.startswith("Program data: ")]
    forger = Keypair().pubkey()
    forged = replace(info, logs=(f"Program {forger} invoke [1]", truth, f"Program {forger} success"))
    assert removal_in(forged, session, PROGRAM_ID) is None
    assert removal_in(replace(info, logs=(truth,)), session, PROGRAM_ID) is None


async def test_noise_at_the_address_does_not_hide_the_end(
    node: Node, trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone can mention the address afterwards; the pages are walked back to the end."""
    monkeypatch.setattr("retainer_provider.settling.removal._PAGE", 3)
    session, info = await closed(trade, node)
    for _ in range(8):
        await trade.mention(session)
    node.advance(slots=40)
    found = await find_removal(node, session, PROGRAM_ID)
    assert found is not None
    assert found.signature == info.signature
