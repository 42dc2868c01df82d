"""The web panel on a local network, to try it out: what `scripts/panel` runs until Ctrl-C."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from solders.keypair import Keypair

from retainer import RetainerError
from retainer.protocol.amounts import format_amount
from tools import oracle
from tools.stage import DECIMALS, Stage, StageError, stage

WALLET: Final = "5.0"
PRICE: Final = 8_000
"""Of a request, in base units."""
SEED_LENGTH: Final = 32
OFFER: Final = """
[panel]
path = "/"

[free_tier]
asks_per_day = {free}
routes = ["/v1/ask"]

[offers.demo]
description = "Ask anything: the answer says how long your question is."
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "1.0"
minimum_deposit = "0.1"
grace_period = 900
voucher_signer = "operator"
routes = ["/v1/ask", "/v1/chat/*"]

[offers.demo.sla]
max_latency_ms = 2000
accepted_statuses = ["2xx"]
min_body_bytes = 1
""" + "".join(f'\n[responders.{name}]\nupstream = "/v1/chat/{name}"\noffer = "demo"\n' for name in oracle.RESPONDERS)


def offers(free: int) -> str:
    """Settings of a panel with so many free asks a day; `{mint}` is still to be filled in."""
    if free:
        return OFFER.replace("{free}", str(free))
    return OFFER.replace('[free_tier]\nasks_per_day = {free}\nroutes = ["/v1/ask"]\n', "")


def address(stood: Stage, wallet: Keypair | None = None) -> str:
    """The panel's address; with a wallet, the page's local test wallet is that one. A fragment stays in the browser."""
    fragment = "" if wallet is None else f"#local-wallet={bytes(wallet)[:SEED_LENGTH].hex()}"
    return f"{stood.service.url}/{fragment}"


async def serve(console: Console, free: int, slot_ms: int) -> None:
    """Keep validator, provider and panel running until told to stop."""
    with tempfile.TemporaryDirectory(prefix="retainer-panel-") as folder:
        async with (
            oracle.running() as upstream,
            stage(Path(folder), upstream=upstream, offers=offers(free), slot_ms=slot_ms) as stood,
        ):
            wallet = await stood.new_agent(WALLET)
            held = format_amount(await stood.balance(wallet.pubkey()), DECIMALS)
            console.print(f"validator   {stood.rpc_url}")
            console.print(f"wallet      {wallet.pubkey()}, with {held} test tokens")
            console.print(f"\nOpen this in a browser:\n\n  [bold]{address(stood, wallet)}[/]\n")
            console.print("It offers a local test wallet that signs for real, with test money that is worth nothing.")
            console.print("A question that begins with “slow” breaks the SLA and costs nothing.")
            console.print(
                f"{' and '.join(oracle.RESPONDERS)} answer on cards; what begins with “fail” gets no answer at first."
            )
            console.print("Ctrl-C stops everything.")
            ended = stood.service.process
            if ended is not None:
                await ended.wait()
            raise StageError("the provider ended by itself")


async def until_stopped(console: Console, free: int, slot_ms: int) -> None:
    """Serve, and end in good order when told to stop: nothing that was started may outlive this process."""
    task = asyncio.ensure_future(serve(console, free, slot_ms))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    await task


def main() -> int:
    """Exit status: 130 when stopped, 1 when something did not start."""
    parser = argparse.ArgumentParser(prog="scripts/panel", description="Try the web panel on a local network.")
    parser.add_argument("--free", type=int, default=3, metavar="N", help="free asks a day (default 3; 0 for none)")
    parser.add_argument(
        "--slot-ms", type=int, default=100, metavar="MS", help="milliseconds per slot; real networks take 400"
    )
    chosen = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        asyncio.run(until_stopped(console, chosen.free, chosen.slot_ms))
    except asyncio.CancelledError:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130
    except (RetainerError, StageError) as error:
        print(f"scripts/panel: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
