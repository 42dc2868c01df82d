"""A whole service before three nodes that fail in every way at once, one of which lies, on a chain that forks.

One *schedule* is everything that happens from one seed: sessions are opened, used, topped up and closed while nodes
answer 429 and 500, lag, drop, repeat and delay transactions, and slots are taken back. Time is the fake chain's own.
At the end the nodes recover, and books and chain are compared to the base unit (F06, F07, F08, F13, F14).
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.types import Receive, Scope, Send

from retainer.chain.base import (
    Chain,
    Commitment,
)
from retainer.chain.fake import FakeChain
from retainer.chain.several import SeveralNodes
from retainer.chain.submit import submit
from retainer.chain.testing import create_mint, mint_to, token_balance
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.instructions import request_close, top_up
from retainer.protocol.pda import derive_vault
from retainer.protocol.session import SessionState
from retainer_provider.app import create_app
from retainer_provider.blueprint import Surroundings
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.stores.chosen import open_ledger
from retainer_provider.keys import keypair_text, write_private
from retainer_provider.settings import settings_from
from retainer_provider.settling.removal import removal_in
from tests.shop import GRACE, PRICE, Agent, Opening, table
from tests.times import ChainClock
from tests.views import View

OPERATOR: Final = Keypair.from_seed(b"o" * 32)
AGENT: Final = Keypair.from_seed(b"a" * 32)
AUTHORITY: Final = Keypair.from_seed(b"m" * 32)
FUNDS: Final = 10_000_000
_FINALITY: Final = 32
_TROUBLE: Final = 0.25
_TRIES: Final = 8
_HEALING_ROUNDS: Final = 400


class StepPace:
    """What the workers wait by: each pass ends in a wait that only `step` ends."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[object], asyncio.Future[None]] = {}
        self._others: set[asyncio.Task[object]] = set()

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = asyncio.get_running_loop().create_future()
        try:
            await self._waiting[task]
        finally:
            del self._waiting[task]

    async def started(self, workers: int) -> None:
        """Come back when so many workers wait; whatever else runs by then is none of them."""
        while len(self._waiting) < workers:  # noqa: ASYNC110  tasks have no event for "waiting again"
            await asyncio.sleep(0.001)
        self._others = asyncio.all_tasks() - self._waiting.keys()

    async def step(self) -> None:
        """Let everyone who waits make one pass, and come back when nobody is at work."""
        for waiter in list(self._waiting.values()):
            if not waiter.done():
                waiter.set_result(None)
        while not all(map(self._waits, asyncio.all_tasks() - self._others)):  # noqa: ASYNC110  the same
            await asyncio.sleep(0.0005)

    def _waits(self, task: asyncio.Task[object]) -> bool:
        waiter = self._waiting.get(task)
        return waiter is not None and not waiter.done()


@dataclass
class Outcome:
    """What one schedule ended in. `wrong` holds a sentence for everything that must not be."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    settled: int = 0
    refunded: int = 0


@dataclass
class Stand:
    """A running service, its cluster, and the three views that it has of it."""

    chain: FakeChain
    views: list[View]
    mint: Pubkey
    ledger: Ledger
    pace: StepPace
    http: httpx.AsyncClient
    agent: Agent
    rng: random.Random

    async def ask(self, header: str, path: str = "/paid/x", key: str | None = None) -> httpx.Response:
        """One request; one that the service cannot answer for now is sent again, a few times."""
        headers = {"Authorization": header, **({} if key is None else {"Idempotency-Key": key})}
        for _ in range(_TRIES):
            answer = await self.http.post(path, headers=headers, content=b"question")
            if "retry-after" not in answer.headers:
                break
            self.chain.advance(seconds=self.rng.uniform(1, 10))
            await self.pace.step()
        return answer

    def quake(self, upheaval: float) -> None:
        """Sometimes, take back slots that no one may have counted on."""
        if self.rng.random() < upheaval:
            self.chain.fork(self.rng.randrange(1, _FINALITY))
            self.views[0].met["fork"] += 1


@asynccontextmanager
async def standing(
    rng: random.Random, folder: Path, *, trouble: float, liar: bool, quorum: int
) -> AsyncIterator[Stand]:
    """A fresh cluster and a fresh service."""
    chain = FakeChain(confirmation_lag=1, finality_lag=_FINALITY)
    for key in (OPERATOR, AGENT, AUTHORITY):
        chain.fund(key.pubkey())
    mint = await create_mint(chain, AUTHORITY, clock=chain)
    await mint_to(chain, AUTHORITY, owner=AGENT.pubkey(), mint=mint, amount=FUNDS, clock=chain)
    chain.advance(slots=2 * _FINALITY)
    views = [View(chain, random.Random(rng.random()), trouble) for _ in range(3)]
    rng.choice(views).liar = liar
    write_private(folder / "operator.json", keypair_text(OPERATOR))
    settings = settings_from(table(mint, commitment=str(Commitment.FINALIZED)), {}, base=folder)
    nodes: Chain = SeveralNodes(views, quorum=quorum, timer=chain)
    ledger, pace = await open_ledger(settings), StepPace()
    around = Surroundings(chain=nodes, ledger=ledger, clock=ChainClock(chain), timer=chain, pace=pace)
    app = create_app(settings, upstream=_echo, surroundings=around)
    try:
        async with (
            app.running(),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as http,
        ):
            await pace.started(3)  # watcher, sweeper, settler
            yield Stand(chain, views, mint, ledger, pace, http, Agent(AGENT), rng)
    finally:
        await ledger.aclose()


async def schedule(seed: int, folder: Path, *, believed: bool = False) -> Outcome:
    """Run one schedule to its end.

    Odd seeds have three nodes that fail and a quorum of 1; with even ones a node lies as well and the quorum is 2,
    unless the liar is to be `believed`, which must show.
    """
    rng, outcome, liar = random.Random(seed), Outcome(seed), seed % 2 == 0
    quorum = 2 if liar and not believed else 1
    async with standing(rng, folder, trouble=_TROUBLE, liar=liar, quorum=quorum) as stand:
        delivered: dict[str, int] = {}
        for _ in range(rng.randrange(1, 4)):
            opening = await _open(stand)
            if opening is not None:
                delivered[str(opening.action.channel_id)] = await _use(stand, opening)
        await _heal(stand)
        await _compare(stand, delivered, outcome)
        for view in stand.views:
            outcome.met += view.met
    return outcome


async def _open(stand: Stand) -> Opening | None:
    """An opening that was sent to the service, whatever the service said to it."""
    for _ in range(_TRIES):
        answer = await stand.http.get("/paid/x")
        if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
            deposit = stand.rng.randrange(80_000, 1_000_000)
            opening = stand.agent.open(answer.headers["www-authenticate"], deposit=deposit)
            await stand.ask(opening.header)
            stand.quake(0.15)
            await stand.ask(opening.header)
            return opening
        stand.chain.advance(seconds=5)
        await stand.pace.step()
    return None


async def _use(stand: Stand, opening: Opening) -> int:
    """Ask a few times, perhaps top up, and end the session in one of three ways; how often was it answered?"""
    answered = 0
    for number in range(stand.rng.randrange(8)):
        answer = await stand.ask(opening.use(), key=f"key-{number}")
        answered += answer.status_code == httpx.codes.OK
        stand.quake(0.05)
        stand.chain.advance(seconds=stand.rng.uniform(0, 20))
        await stand.pace.step()
    session = opening.action.channel_id
    if await stand.chain.account(session) is None:
        return answered
    if stand.rng.random() < 1 / 3:
        add = top_up(
            payer=AGENT.pubkey(),
            session=session,
            payer_token=opening.params.payer_token,
            escrow=derive_vault(session)[0],
            mint=stand.mint,
            amount=PRICE,
            token_program=opening.params.token_program,
        )
        await submit(stand.chain, [add], [AGENT], clock=stand.chain)
        await stand.pace.step()
    match stand.rng.randrange(3):
        case 0:
            await stand.ask(opening.close())
        case 1:
            await submit(
                stand.chain, [request_close(payer=AGENT.pubkey(), session=session)], [AGENT], clock=stand.chain
            )
        case _:
            pass  # forgotten: the service closes it when it has been idle for long enough
    stand.quake(0.15)
    await stand.pace.step()
    return answered


async def _heal(stand: Stand) -> None:
    """The nodes recover, and time goes on until nothing is open."""
    for view in stand.views:
        view.trouble, view.liar = 0.0, False
    for _ in range(_HEALING_ROUNDS):
        stand.chain.advance(seconds=GRACE / 60)
        await stand.pace.step()
        live = {SessionState.PENDING, SessionState.ACTIVE, SessionState.CLOSING}
        if not await stand.ledger.sessions(states=live, limit=1):
            return


async def _compare(stand: Stand, delivered: dict[str, int], outcome: Outcome) -> None:
    """Books against chain against what the agent got."""
    chain, kept = stand.chain, 0
    for record in await stand.ledger.sessions():
        outcome.states[str(record.state)] += 1
        name = f"session {record.session_id}"
        removals = await _removals(chain, Pubkey.from_string(record.session_id))
        if record.spent != PRICE * delivered.get(record.session_id, 0):
            outcome.wrong.append(f"{name}: {record.spent} charged for {delivered.get(record.session_id)} answers")
        outcome.delivered += delivered.get(record.session_id, 0)
        if record.state is SessionState.ABANDONED:
            if record.spent:
                outcome.wrong.append(f"{name}: abandoned, but {record.spent} was spent")
            continue
        if record.state is not SessionState.REFUNDED:
            outcome.wrong.append(f"{name}: still {record.state} at the end")
            continue
        if len(removals) != 1:
            outcome.wrong.append(f"{name}: settled {len(removals)} times on chain")
        settled, refund = record.settled, record.refund or 0
        if removals != [settled] or settled != record.spent:
            outcome.wrong.append(f"{name}: spent {record.spent}, booked {settled}, the chain says {removals}")
        if settled is None or settled + refund != record.deposit:
            outcome.wrong.append(f"{name}: {settled} + {refund} is not the deposit {record.deposit}")
        kept += settled or 0
        outcome.refunded += refund
    outcome.settled = kept
    paid = await token_balance(chain, OPERATOR.pubkey(), stand.mint)
    if paid != kept:
        outcome.wrong.append(f"the payee has {paid}, the books say {kept}")


async def _removals(chain: FakeChain, session: Pubkey) -> list[int]:
    """What each transaction that removed the session settled in all; one, if all is well."""
    infos = [
        await chain.transaction(one, commitment=Commitment.PROCESSED) for one in await chain.signatures_for(session)
    ]
    found = [removal_in(info, session, PROGRAM_ID) for info in infos if info is not None]
    return [removal.settled for removal in found if removal is not None]


async def _echo(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})
