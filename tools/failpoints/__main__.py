"""`retainer-provider serve`, with its surroundings replaced by doubles, one of which is armed."""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from retainer.chain.several import connect
from retainer_provider.app import create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.books.stores.chosen import open_ledger
from retainer_provider.cli.serve import listen, serve_app
from retainer_provider.logs import configure_logging
from retainer_provider.settings import Settings, load_settings
from retainer_provider.wire.proxy import ReverseProxy
from tools.failpoints.disk import TrappedDisk
from tools.failpoints.points import Point
from tools.failpoints.seams import TrappedChain, TrappedLedger, trapped_front, trapped_upstream
from tools.failpoints.trap import Trap

_LOCAL = {"localhost", "127.0.0.1", "::1"}


async def _serve(settings: Settings, trap: Trap, *, forgetful: bool, amnesic: bool) -> None:
    async with AsyncExitStack() as stack:
        disk = None if settings.ledger.url else TrappedDisk(trap)
        chain = await stack.enter_async_context(connect(settings.service.rpc_urls))
        ledger = await open_ledger(settings)
        stack.push_async_callback(ledger.aclose)
        proxy = ReverseProxy(settings.service.upstream or "", timeout=settings.limits.upstream_seconds)
        stack.push_async_callback(proxy.aclose)
        app = create_app(
            settings,
            upstream=trapped_upstream(proxy, trap),
            surroundings=Surroundings(
                chain=TrappedChain(chain, trap, amnesic=amnesic),
                ledger=TrappedLedger(ledger, trap, forgetful=forgetful, amnesic=amnesic),
            ),
        )
        if disk is not None:
            disk.live = True
        front = trapped_front(app, trap, spared=settings.service.api_prefix)
        with listen(settings.service) as listener:
            await serve_app(app, settings, listener, front=front)


def main() -> None:
    """Run the service until it is stopped, or dies at the point."""
    parser = argparse.ArgumentParser(prog="python -m tools.failpoints", description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="the settings file; its RPC node must be a local one"
    )
    parser.add_argument("--point", type=Point, choices=list(Point), metavar="NAME", help="where to die; never without")
    parser.add_argument("--witness", type=Path, required=True, help="the file that gets the name of the reached point")
    parser.add_argument("--forgetful", action="store_true", help="lose every Idempotency-Key: for sabotage")
    parser.add_argument("--amnesic", action="store_true", help="store nothing that is sent, find nothing past")
    options = parser.parse_args()
    settings = load_settings(options.config)
    if {urlsplit(url).hostname for url in settings.service.rpc_urls} - _LOCAL:
        sys.exit("failpoints are for a local validator: `rpc_url` names another host, where real money may be")
    configure_logging(settings.service.log_level, settings.service.log_format)
    asyncio.run(
        _serve(settings, Trap(options.point, options.witness), forgetful=options.forgetful, amnesic=options.amnesic)
    )


if __name__ == "__main__":
    main()
