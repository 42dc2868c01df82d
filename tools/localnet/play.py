"""A local validator in the foreground, with a test token and a faucet: what `scripts/localnet` runs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.errors import ChainError
from retainer.chain.rpc import RpcChain
from retainer.chain.testing import create_mint, mint_to, token_balance
from retainer.localnet import LAMPORTS_PER_SOL, Localnet, airdrop
from retainer.protocol.amounts import format_amount, parse_amount
from retainer.protocol.errors import RetainerError

DECIMALS = 6
SYMBOL = "TEST"
STATE = Path(__file__).parents[2] / "build" / "localnet" / "state.json"
SOL_PER_DRIP = 2

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class State:
    """What the faucet needs to know of the running validator; `authority` is the mint authority's secret key."""

    rpc: str
    mint: str
    authority: list[int]

    def save(self, path: Path) -> None:
        """Keep it where only this user can read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(self), file)

    @classmethod
    def load(cls, path: Path) -> "State":
        """The state of the validator that runs; RetainerError when none has left any."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            raise RetainerError("no local validator runs here; start one with: scripts/localnet") from None


@click.group(invoke_without_command=True, epilog="While it runs: scripts/localnet faucet ADDRESS [AMOUNT]")
@click.option(
    "--port",
    type=click.IntRange(0, 65534),
    default=8899,
    show_default=True,
    help="RPC port; the websocket takes the next. 0: free ones.",
)
@click.option(
    "--slot-ms",
    type=click.IntRange(1),
    default=400,
    show_default=True,
    help="Milliseconds per slot; finality takes 31 slots.",
)
@click.option("--state", type=click.Path(path_type=Path), default=STATE, help="Where the faucet finds the validator.")
@click.pass_context
def main(context: click.Context, port: int, slot_ms: int, state: Path) -> None:
    """Run a local Solana validator with the session program deployed and a test token, until Ctrl-C.

    \b
    scripts/localnet                                start it
    scripts/localnet --slot-ms 50                   start one with quick finality
    scripts/localnet faucet ADDRESS                 give ADDRESS 100 TEST and 2 SOL
    scripts/localnet faucet ADDRESS 2.5             give ADDRESS 2.5 TEST and 2 SOL
    """  # noqa: D301  click wants the \b
    context.obj = state
    if context.invoked_subcommand is None:
        _report(lambda: _run(port, slot_ms, state))


@main.command()
@click.argument("address")
@click.argument("amount", default="100")
@click.pass_obj
def faucet(state: Path, address: str, amount: str) -> None:
    """Give ADDRESS test tokens (100, or AMOUNT) and 2 SOL."""
    _report(lambda: asyncio.run(_drip(State.load(state), address, amount)))


def _report(action: Callable[[], None]) -> None:
    try:
        action()
    except RetainerError as error:
        raise click.ClickException(str(error)) from None


def _run(port: int, slot_ms: int, state: Path) -> None:
    # A polite end by others must stop the validator as Ctrl-C does, also where a shell started it in the background.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _interrupt)
    with Localnet.start(port=port, slot_ms=slot_ms) as localnet:
        authority = Keypair()
        mint = asyncio.run(_new_mint(localnet, authority))
        try:
            State(localnet.rpc_url, str(mint), list(bytes(authority))).save(state)
            console.print(f"[bold]local validator[/] {localnet.rpc_url}  (websocket {localnet.ws_url})")
            console.print(f"program         {localnet.program_id}")
            console.print(f"token {SYMBOL}      {mint}  ({DECIMALS} decimals)")
            console.print("for tokens      scripts/localnet faucet ADDRESS [AMOUNT]")
            console.print("Ctrl-C stops it and forgets everything.")
            status = localnet.process.wait()
            raise RetainerError(f"the local validator ended by itself, with status {status}")
        except KeyboardInterrupt:
            console.print("stopping")
        finally:
            state.unlink(missing_ok=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


async def _new_mint(localnet: Localnet, authority: Keypair) -> Pubkey:
    async with RpcChain(localnet.rpc_url) as chain:
        await airdrop(localnet.rpc_url, chain, authority.pubkey(), 1_000 * LAMPORTS_PER_SOL)
        return await create_mint(chain, authority, decimals=DECIMALS)


async def _drip(state: State, address: str, amount: str) -> None:
    try:
        owner = Pubkey.from_string(address)
    except ValueError:
        raise RetainerError(f"{address} is no address: it has 32 bytes in base58, as `solana address` prints") from None
    units = parse_amount(amount, DECIMALS)
    mint = Pubkey.from_string(state.mint)
    async with RpcChain(state.rpc, pauses=()) as chain:
        try:
            await airdrop(state.rpc, chain, owner, SOL_PER_DRIP * LAMPORTS_PER_SOL)
            await mint_to(chain, Keypair.from_bytes(bytes(state.authority)), owner=owner, mint=mint, amount=units)
            balance = await token_balance(chain, owner, mint)
        except ChainError as error:
            raise RetainerError(
                f"the local validator does not answer; is scripts/localnet running? ({error})"
            ) from None
    console.print(f"{address} has {format_amount(balance, DECIMALS)} {SYMBOL}, and {SOL_PER_DRIP} SOL more")


if __name__ == "__main__":
    sys.exit(main(prog_name="scripts/localnet"))
