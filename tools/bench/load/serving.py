"""Our side of a comparison, as a process: an app served by uvicorn, behind our gate or open to everybody.

    python -m tools.bench.load.serving raw|fastapi open|metered|voucher --folder FOLDER --sessions N

The sessions are opened over the wire, on the real program in a chain in memory; the ledger is the SQLite file that
`retainer-provider serve` would write, with all its syncs. Then it writes FOLDER/sessions.json and serves, and
FOLDER/port says where.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import uvicorn
from fastapi import Depends, FastAPI
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.types import ASGIApp, Receive, Scope, Send

from retainer.chain.fake import FakeChain
from retainer.chain.testing import create_mint, mint_to
from retainer_provider.app import RetainerApp, create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.cli.connections import bounded_connections
from retainer_provider.cli.garbage import collect_seldom
from retainer_provider.fastapi import PaidRequest, RequireSession, meter
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.listening import open_listener
from retainer_provider.settings import Settings, settings_from
from tests.shop import SIGNER, Agent
from tools.bench.load.sessions import Mode, OpenSession, write_sessions

PATH: Final = "/paid/answer"
PRICE: Final = 1
DEPOSIT: Final = 10**12
_CHAIN_START: Final = 1_800_000_000
_AGENTS: Final = 8


class _Clock:
    """Real time, counted from where the chain in memory stands."""

    def __init__(self) -> None:
        self._start = time.time() - _CHAIN_START

    def now(self) -> int:
        return int(time.time() - self._start)

    def now_ms(self) -> int:
        return int((time.time() - self._start) * 1000)

    def monotonic(self) -> float:
        return time.monotonic()


async def answer_raw(scope: Scope, receive: Receive, send: Send) -> None:
    """The cheapest app there is."""
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"answer":42}'})


async def answer_open() -> dict[str, int]:
    """A route that costs nothing."""
    return {"answer": 42}


async def answer_paid(paid: Annotated[PaidRequest, Depends(RequireSession("standard"))]) -> dict[str, int]:  # noqa: ARG001
    """The same, sold."""
    return {"answer": 42}


def _fastapi(handler: Any) -> FastAPI:  # noqa: ANN401 - any endpoint
    app = FastAPI()
    app.get(PATH)(handler)
    return app


def _settings(mint: Pubkey, folder: Path, mode: Mode) -> Settings:
    table = {
        "service": {
            "realm": "shop.test",
            "network": "localnet",
            "rpc_url": "http://127.0.0.1:8899",
            "operator_keypair": str(folder / "operator.json"),
            "database": str(folder / "retainer.sqlite"),
            "secret": "0123456789abcdef0123456789abcdef-for-tests-only",
        },
        "offers": {
            "standard": {
                "price": "0.000001",
                "mint": str(mint),
                "decimals": 6,
                "suggested_deposit": "1.0",
                "minimum_deposit": "0.08",
                "maximum_deposit": "10000000",
                "grace_period": 3600,
                "voucher_signer": "operator" if mode is Mode.METERED else "client",
                "routes": ["/paid/*"],
                "sla": {"max_latency_ms": 20_000, "min_body_bytes": 1},
            }
        },
        # Few payers stand for many here; who does not pay is held back as always.
        "limits": {"payer_requests_per_second": 0},
    }
    return settings_from(table, {}, base=folder)


async def _metered(kind: str, mode: Mode, folder: Path) -> tuple[RetainerApp, list[Agent]]:
    chain, operator, authority = FakeChain(), Keypair(), Keypair()
    agents = [Agent(Keypair()) for _ in range(_AGENTS)]
    for key in (operator.pubkey(), authority.pubkey(), *(agent.key for agent in agents)):
        chain.fund(key, 10**15)
    mint = await create_mint(chain, authority, clock=chain)
    for owner in (operator.pubkey(), *(agent.key for agent in agents)):
        await mint_to(chain, authority, owner=owner, mint=mint, amount=10**18, clock=chain)
    write_private(folder / "operator.json", keypair_text(operator))
    settings = _settings(mint, folder, mode)
    around = Surroundings(chain=chain, clock=_Clock())
    if kind == "raw":
        return create_app(settings, upstream=answer_raw, surroundings=around), agents
    return meter(_fastapi(answer_paid), settings, surroundings=around), agents


async def _opened(app: ASGIApp, agents: list[Agent], number: int) -> list[OpenSession]:
    sessions = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as http:
        for index in range(number):
            agent = agents[index % len(agents)]
            header = (await http.get(PATH)).headers["www-authenticate"]
            opening = agent.open(header, deposit=DEPOSIT)
            answer = await http.get(PATH, headers={"Authorization": opening.header})
            if not answer.is_success:
                raise RuntimeError(f"session {index} was not opened: {answer.text}")
            seeds = (bytes(key)[:32].hex() for key in (agent.keypair, SIGNER))
            sessions.append(OpenSession(header, str(opening.action.channel_id), *seeds))
    return sessions


async def serve(app: ASGIApp, folder: Path, http: type[asyncio.Protocol] | None = None) -> None:
    """Serve until SIGTERM; FOLDER/port is written when it listens."""
    listener = open_listener("127.0.0.1", 0, "port")
    config = uvicorn.Config(
        app, lifespan="off", log_level="warning", access_log=False, ws="none", http=http or "httptools"
    )
    server = uvicorn.Server(config)
    collect_seldom()  # as `retainer-provider serve` does; here on both sides of a comparison
    (folder / "port").write_text(str(listener.getsockname()[1]), encoding="ascii")
    await server.serve(sockets=[listener])


async def _main(kind: str, mode: str, folder: Path, number: int) -> None:
    if mode == "open":
        await serve(answer_raw if kind == "raw" else _fastapi(answer_open), folder)
        return
    app, agents = await _metered(kind, Mode(mode), folder)
    async with app.running():
        write_sessions(folder / "sessions.json", await _opened(app, agents, number))
        # Of the kind that `retainer-provider serve` has: the other side is uvicorn as it comes.
        await serve(app, folder, bounded_connections(most=2_048, seconds=60, head_limit=65_536))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["raw", "fastapi"])
    parser.add_argument("mode", choices=["open", *Mode])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sessions", type=int, default=256)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvicorn.Config(answer_raw).get_loop_factory()) as runner:
        runner.run(_main(options.kind, options.mode, options.folder, options.sessions))
