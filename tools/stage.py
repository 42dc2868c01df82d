"""A stage for the real thing: validator, token, funded agent, upstream and the provider as its own process.

Used by `scripts/demo` and `scripts/evidence`. Everything runs on loopback and ends with the `async with` block.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx
from solders.keypair import Keypair

from retainer.chain.base import Commitment
from retainer.chain.rpc import RpcChain
from retainer.chain.testing import create_ata, create_mint, mint_to, token_balance
from retainer.localnet import LAMPORTS_PER_SOL, Localnet, airdrop
from retainer.protocol.amounts import BaseUnits, format_amount, parse_amount
from tools.ports import held_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from solders.pubkey import Pubkey

DECIMALS: Final = 6
# Of a process that hangs: one that ends is noticed at once, and a busy machine takes its time.
_READY_SECONDS: Final = 120
_STOP_SECONDS: Final = 40

OFFER: Final = """
[offers.demo]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "1.0"
minimum_deposit = "0.1"
grace_period = 900
voucher_signer = "operator"
routes = ["/v1/*"]

[offers.demo.sla]
max_latency_ms = 2000
accepted_statuses = ["2xx"]
min_body_bytes = 1
"""


class StageError(Exception):
    """Something on the stage did not start or stop; the text carries its own words."""


@dataclass(slots=True)
class Service:
    """`retainer-provider serve` as a process of its own, which can be killed and started again."""

    settings: Path
    log: Path
    url: str
    process: asyncio.subprocess.Process | None = None

    async def spawn(self, *program: str) -> asyncio.subprocess.Process:
        """Start it, or another program in its place, and do not wait for anything."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *(program or ("retainer_provider", "serve")), "--config", str(self.settings)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process

    async def start(self, *program: str) -> None:
        """Start it, or another program in its place, and wait until it answers; StageError with the end of its log."""
        process = await self.spawn(*program)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _READY_SECONDS
        async with httpx.AsyncClient() as http:
            while True:
                try:
                    if (await http.get(f"{self.url}/api/health")).is_success:
                        return
                except httpx.TransportError:
                    pass
                if process.returncode is not None or loop.time() > give_up_at:
                    tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                    raise StageError(f"the provider did not start:\n{tail}")
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait; a second time does nothing."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), _STOP_SECONDS)
        except TimeoutError:
            await self.kill()
            raise StageError(f"the provider did not stop within {_STOP_SECONDS} s of SIGTERM") from None

    async def kill(self) -> None:
        """SIGKILL: what a power cut does to a process."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@dataclass(slots=True)
class Stage:
    """What stands on the stage. Balances are read from the chain."""

    folder: Path
    rpc_url: str
    chain: RpcChain
    mint: Pubkey
    authority: Keypair
    operator: Keypair
    payee: Keypair
    agent: Keypair
    service: Service

    @property
    def url(self) -> str:
        """A priced address of the service."""
        return f"{self.service.url}/v1/report"

    async def balance(self, owner: Pubkey) -> BaseUnits:
        """What `owner` holds of the token, from the chain, in base units."""
        return await token_balance(self.chain, owner, self.mint)

    async def until_final(self, signature: str) -> None:
        """Wait until nothing can take a transaction back; StageError when that takes too long."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _READY_SECONDS
        while await self.chain.transaction(signature, commitment=Commitment.FINALIZED) is None:
            if loop.time() > give_up_at:
                raise StageError(f"transaction {signature} did not become final")
            await asyncio.sleep(0.1)

    async def new_agent(self, tokens: str = "5.0", lamports: int = LAMPORTS_PER_SOL) -> Keypair:
        """One more agent, with so many tokens and lamports."""
        agent = Keypair()
        if lamports:
            await airdrop(self.rpc_url, self.chain, agent.pubkey(), lamports)
        await mint_to(
            self.chain, self.authority, owner=agent.pubkey(), mint=self.mint, amount=parse_amount(tokens, DECIMALS)
        )
        return agent


def write_keypair(path: Path, keypair: Keypair) -> None:
    """The Solana CLI's form, readable by this user only."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(list(bytes(keypair)), file)


@asynccontextmanager
async def stage(
    folder: Path,
    *,
    upstream: str,
    offers: str = OFFER,
    slot_ms: int = 400,
    service: Mapping[str, str | int] | None = None,
    limits: Mapping[str, int] | None = None,
    say: Callable[[str, str], None] | None = None,
) -> AsyncIterator[Stage]:
    """Set the stage in `folder` before the service at the URL `upstream`.

    `offers` is TOML with `{mint}` in it; `service` adds settings to [service], `limits` numbers to [limits].
    `say` hears of each step as it is done: its name, and what it came to.
    """
    say = say or (lambda _step, _outcome: None)
    async with AsyncExitStack() as stack:
        localnet = stack.enter_context(Localnet.start(slot_ms=slot_ms))
        chain = await stack.enter_async_context(RpcChain(localnet.rpc_url))
        say("validator", f"Surfpool at {localnet.rpc_url}, with session program {localnet.program_id}")
        authority, operator, payee = Keypair(), Keypair(), Keypair()
        for key in (authority, operator):
            await airdrop(localnet.rpc_url, chain, key.pubkey(), 1_000 * LAMPORTS_PER_SOL)
        mint = await create_mint(chain, authority, decimals=DECIMALS)
        await create_ata(chain, authority, owner=payee.pubkey(), mint=mint)
        say("test token", f"{mint}, {DECIMALS} decimals")
        write_keypair(folder / "operator.json", operator)
        write_keypair(folder / "payee.json", payee)
        port = stack.enter_context(held_port())
        lines: dict[str, str | int] = {
            "realm": "stage.localhost",
            "network": "localnet",
            "rpc_url": localnet.rpc_url,
            "operator_keypair": "operator.json",
            "payee": str(payee.pubkey()),
            "database": "ledger.sqlite",
            "secret": secrets.token_hex(32),
            "upstream": upstream,
            **(service or {}),
        }
        text = "[service]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
        text += f"port = {port}\n\n[limits]\n" + "".join(
            f"{name} = {value}\n" for name, value in (limits or {}).items()
        )
        settings = folder / "settings.toml"
        settings.write_text(text + offers.replace("{mint}", str(mint)), encoding="utf-8")
        settings.chmod(0o600)
        provider = Service(settings, folder / "provider.log", f"http://127.0.0.1:{port}")
        stack.push_async_callback(provider.stop)
        await provider.start()
        say("provider", f"{provider.url}, before the upstream at {upstream}")
        stood = Stage(folder, localnet.rpc_url, chain, mint, authority, operator, payee, authority, provider)
        stood.agent = await stood.new_agent()
        held = format_amount(await stood.balance(stood.agent.pubkey()), DECIMALS)
        say("agent", f"{stood.agent.pubkey()}, with {held} tokens")
        yield stood
