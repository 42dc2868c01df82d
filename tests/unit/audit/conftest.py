"""A provider and an agent on a fake chain, and an auditor who sees that chain through a node's JSON-RPC."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio
from click.testing import CliRunner, Result

from retainer.chain.fake import FakeChain
from retainer.cli import main
from tests.trading import Trade, trade_on
from tools.node import Node, serving


@dataclass(frozen=True)
class Auditor:
    """Who asks a node, by the command line."""

    node: Node
    url: str
    trade: Trade
    chain: FakeChain

    async def run(self, *arguments: str) -> Result:
        """`retainer audit ...` against the node."""
        command = ["audit", *arguments, "--rpc-url", self.url]
        return await asyncio.to_thread(CliRunner().invoke, main, command)


@pytest_asyncio.fixture
async def auditor(tmp_path: Path) -> AsyncIterator[Auditor]:
    chain = FakeChain()
    async with trade_on(chain, tmp_path / "ledger.sqlite") as trade:
        node = Node(chain)
        async with serving(node) as url:
            yield Auditor(node, url, trade, chain)
