"""cold-start: how late a service sells that finds 100,000 open sessions in its books, beside one that finds one."""

import asyncio
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.chain.sessions import session_account
from retainer.chain.testing import create_mint, mint_to
from retainer.protocol.layouts import encode_session
from retainer.protocol.pda import derive_session, derive_vault
from retainer.protocol.session import SessionAccount
from retainer_provider.app import create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.settings import settings_from
from tests.shop import Agent
from tools.bench.cold_service import PATH, ChainClock, answer, table
from tools.bench.many import Copy, copy_sessions
from tools.bench.result import Result

MANY: Final = 100_000
STARTS: Final = 5
LIMIT: Final = 1.5
_ROOT: Final = Path(__file__).parents[2]


async def run(result: Result, _seed: int) -> None:
    """Write both ledgers, then start a service on either by turns."""
    with tempfile.TemporaryDirectory(prefix="retainer-bench-") as name:
        few, many = Path(name, "few"), Path(name, "many")
        for folder, sessions in ((few, 1), (many, MANY)):
            print(f"  writing {sessions:,} open sessions", file=sys.stderr, flush=True)
            folder.mkdir()
            await _write(folder, sessions)
        taken: dict[Path, list[float]] = {few: [], many: []}
        for number in range(STARTS):
            print(f"  start {number + 1} of {STARTS}", file=sys.stderr, flush=True)
            for folder in (few, many) if number % 2 else (many, few):
                taken[folder].append(await _start(folder))
    result.spread("one open session: from importing the service to its first paid answer", taken[few], "s")
    result.spread(f"{MANY:,} open sessions", taken[many], "s")
    ratio = statistics.median(taken[many]) / statistics.median(taken[few])
    result.at_most(f"{MANY:,} open sessions over one, medians of {STARTS} starts", ratio, LIMIT, "ratio")
    result.note(
        "Each start is a process of its own on a ledger that was closed; the interpreter's own start is left out,"
    )
    result.note("and so is filling the chain, which is in the same process's memory.")


async def _write(folder: Path, sessions: int) -> None:
    """A ledger with so many open sessions, one of them opened over the wire, and the accounts that go with them."""
    chain, operator, authority, agent = FakeChain(), Keypair(), Keypair(), Agent(Keypair())
    for key in (operator.pubkey(), authority.pubkey(), agent.key):
        chain.fund(key)
    mint = await create_mint(chain, authority, clock=chain)
    for owner in (operator.pubkey(), agent.key):
        await mint_to(chain, authority, owner=owner, mint=mint, amount=10**12, clock=chain)
    write_private(folder / "operator.json", keypair_text(operator))
    settings = settings_from(table(folder, mint), {}, base=folder)
    app = create_app(settings, upstream=answer, surroundings=Surroundings(chain=chain, clock=ChainClock()))
    async with app.running():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
            opening = agent.open((await http.get(PATH)).headers["www-authenticate"])
            (await http.get(PATH, headers={"Authorization": opening.header})).raise_for_status()
    told = {"mint": str(mint), "header": opening.use()}
    (folder / "told.json").write_text(json.dumps(told), encoding="ascii")
    account = await session_account(chain, opening.action.channel_id)
    if account is None:
        raise RuntimeError("the session that was opened has no account")
    await asyncio.to_thread(_multiply, folder, opening.action.channel_id, account, sessions)


def _multiply(folder: Path, address: Pubkey, account: SessionAccount, sessions: int) -> None:
    copies = []
    with (folder / "accounts").open("w", encoding="ascii") as file:
        file.write(f"{address} {encode_session(account).hex()}\n")
        for salt in range(account.salt + 1, account.salt + sessions):
            other, bump = derive_session(replace(account.seeds, salt=salt))
            escrow = derive_vault(other)[0]
            data = encode_session(replace(account, salt=salt, bump=bump, escrow=escrow))
            file.write(f"{other} {data.hex()}\n")
            copies.append(Copy(str(other), str(escrow), str(salt)))
    copy_sessions(folder / "retainer.sqlite", copies)


async def _start(folder: Path) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tools.bench.cold_service",
        str(folder),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the service did not start: {errors.decode(errors='replace')[-1500:]}")
    return float(said.decode().split()[-1])
