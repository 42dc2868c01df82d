"""Local validators for tests, started by pytest-xprocess and gone with the test run.

`localnet` is one for the whole run: tests use fresh keys and leave its clock alone. `own_localnet` is one for a single
test that moves time. RETAINER_TEST_RPC and RETAINER_TEST_WS name a validator of yours to use as `localnet` instead.
"""

import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from xprocess import ProcessStarter, XProcess

from retainer.chain.rpc import RpcChain
from retainer.chain.testing import create_mint, mint_to
from retainer.localnet import airdrop, command
from retainer.protocol.constants import TOKEN_PROGRAM_ID

# Finality takes 31 slots: 1.5 s instead of 12.
SLOT_MS = 50

_names = (f"localnet-{os.getpid()}-{number}" for number in count())


@dataclass(frozen=True, slots=True)
class LocalValidator:
    """Where a validator with our program listens."""

    rpc_url: str
    ws_url: str

    async def person(self, lamports: int = 10_000_000_000) -> Keypair:
        """A fresh key with lamports."""
        keypair = Keypair()
        async with RpcChain(self.rpc_url) as chain:
            await airdrop(self.rpc_url, chain, keypair.pubkey(), lamports)
        return keypair

    async def mint(
        self, *holders: Pubkey, amount: int = 10_000_000, decimals: int = 6, token_program: Pubkey = TOKEN_PROGRAM_ID
    ) -> Pubkey:
        """A fresh mint, `amount` base units of which each of `holders` has in its associated account."""
        authority = await self.person()
        async with RpcChain(self.rpc_url) as chain:
            mint = await create_mint(chain, authority, decimals=decimals, token_program=token_program)
            for holder in holders:
                await mint_to(chain, authority, owner=holder, mint=mint, amount=amount, token_program=token_program)
        return mint


@pytest.fixture(scope="session")
def localnet(xprocess: XProcess) -> Iterator[LocalValidator]:
    """The validator of this test run."""
    external = os.environ.get("RETAINER_TEST_RPC")
    if external:
        assert is_healthy(external), f"RETAINER_TEST_RPC={external} does not answer getHealth"
        yield LocalValidator(external, os.environ["RETAINER_TEST_WS"])
    else:
        with running(xprocess, SLOT_MS) as validator:
            yield validator


@pytest.fixture
def own_localnet(xprocess: XProcess) -> Iterator[LocalValidator]:
    """A validator of the test's own, for tests that move its clock."""
    with running(xprocess, SLOT_MS) as validator:
        yield validator


@pytest_asyncio.fixture
async def chain(localnet: LocalValidator) -> AsyncIterator[RpcChain]:
    """The shared validator as retainer sees it."""
    async with RpcChain(localnet.rpc_url) as rpc:
        yield rpc


@contextmanager
def running(xprocess: XProcess, slot_ms: int) -> Iterator[LocalValidator]:
    """A validator while the block runs."""
    # A name per process: two test runs at once must not stop each other's validator.
    name = next(_names)
    info = xprocess.getinfo(name)

    class Starter(ProcessStarter):  # type: ignore[misc]  # xprocess has no annotations
        args = command(slot_ms=slot_ms)
        pattern = '"rpc"'
        timeout = 60
        terminate_on_interrupt = True

        def startup_check(self) -> bool:
            return is_healthy(announced(Path(info.logpath)).rpc_url)

    try:
        xprocess.ensure(name, Starter)
        yield announced(Path(info.logpath))
    finally:
        info.terminate()
        shutil.rmtree(str(info.controldir))


def announced(log: Path) -> LocalValidator:
    """Where the validator printed that it listens."""
    said = json.loads(next(line for line in log.read_text().splitlines() if line.startswith("{")))
    return LocalValidator(said["rpc"], said["ws"])


def is_healthy(rpc_url: str) -> bool:
    """Whether a node answers there and says it is well."""
    try:
        answer = httpx.post(rpc_url, json={"jsonrpc": "2.0", "id": 1, "method": "getHealth"}, timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return False
    return bool(answer.get("result") == "ok")
