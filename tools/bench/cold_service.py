"""A service of its own process, whose start is measured: from importing it to the answer to a paid request.

    python -m tools.bench.cold_service FOLDER

FOLDER is what `tools.bench.cold_start` wrote. The chain is in this process's memory; filling it is not measured.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.types import Receive, Scope, Send

from retainer.chain.fake import FakeChain
from retainer.protocol.constants import PROGRAM_ID

PATH: Final = "/paid/answer"
_SECRET: Final = "0123456789abcdef" * 2 + "-for-measuring-only"
_CHAIN_START: Final = 1_800_000_000


class ChainClock:
    """Real time, counted from where a chain in memory begins."""

    def __init__(self) -> None:
        self._behind = time.time() - _CHAIN_START

    def now(self) -> int:
        """Unix seconds."""
        return int(time.time() - self._behind)

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int((time.time() - self._behind) * 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """What is sold."""
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"answer":42}'})


def table(folder: Path, mint: Pubkey) -> dict[str, object]:
    """The service's settings."""
    return {
        "service": {
            "realm": "shop.test",
            "network": "localnet",
            "rpc_url": "http://127.0.0.1:8899",
            "operator_keypair": str(folder / "operator.json"),
            "database": str(folder / "retainer.sqlite"),
            "secret": _SECRET,
        },
        "offers": {
            "standard": {
                "price": "0.000001",
                "mint": str(mint),
                "decimals": 6,
                "suggested_deposit": "1.0",
                "minimum_deposit": "0.08",
                "maximum_deposit": "100",
                "grace_period": 3600,
                "voucher_signer": "operator",
                "routes": ["/paid/*"],
            }
        },
    }


def accounts(path: Path) -> Iterator[tuple[Pubkey, bytes]]:
    """The sessions' accounts, as they were written."""
    with path.open(encoding="ascii") as file:
        for line in file:
            address, data = line.split()
            yield Pubkey.from_string(address), bytes.fromhex(data)


async def _main(folder: Path) -> float:
    told = json.loads((folder / "told.json").read_text(encoding="ascii"))
    chain = FakeChain()
    for address, data in accounts(folder / "accounts"):
        chain.put(address, owner=PROGRAM_ID, data=data)
    chain.fund(Keypair.from_json((folder / "operator.json").read_text(encoding="ascii")).pubkey())

    gc.collect()
    gc.freeze()  # collecting garbage while the service starts must not go through the chain's accounts

    started = time.perf_counter()
    import httpx  # noqa: PLC0415 - a part of the start

    from retainer_provider.app import create_app  # noqa: PLC0415 - the start itself
    from retainer_provider.blueprint import Surroundings  # noqa: PLC0415
    from retainer_provider.settings import settings_from  # noqa: PLC0415

    settings = settings_from(table(folder, Pubkey.from_string(told["mint"])), {}, base=folder)
    app = create_app(settings, upstream=answer, surroundings=Surroundings(chain=chain, clock=ChainClock()))
    async with app.running():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
            paid = await http.get(PATH, headers={"Authorization": told["header"]})
            elapsed = time.perf_counter() - started
            if paid.status_code != httpx.codes.OK or "payment-receipt" not in paid.headers:
                raise RuntimeError(f"the first request was answered {paid.status_code}: {paid.text}")
    return elapsed


if __name__ == "__main__":
    print(asyncio.run(_main(Path(sys.argv[1]))))
