"""settle-once: a settlement that dies at any step, or whose node loses it, settles once on a real validator."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solders.pubkey import Pubkey

from retainer import SessionClient
from retainer.chain.base import Chain
from retainer.chain.confirm import SystemTimer
from retainer.chain.errors import SendOutcomeUnknownError
from retainer.chain.raw import decode_signed, signature_of
from retainer.protocol.events import SessionClosed, events_from_logs
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import SignedOutcome
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.clock import SystemClock
from retainer_provider.logs import configure_logging
from retainer_provider.settling.settler import Settler, SettlerOptions
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.failpoints.points import Point
from tools.failpoints.seams import TrappedChain, TrappedLedger
from tools.failpoints.trap import Trap
from tools.stage import Stage, stage

PRICE, DEPOSIT, REQUESTS = 8_000, 100_000, 3
# Quick slots: a blockhash lives for 150 of them.
SLOT_MS = 50
SETTLING_SECONDS = 90
_PAUSE_SECONDS = 0.2


class _Died(BaseException):
    """The process is gone: nothing it did after this happened."""


class _Death(Trap):
    """A trap for settlers in this process."""

    def spring(self, *, later: float = 0) -> None:
        """Die here."""
        raise _Died


@dataclass
class Node:
    """A node that may lose what it takes, or its own answer; it notes what it was given."""

    chain: Chain
    loses: Callable[[int], bool] = lambda _: False
    silent: bool = False
    sent: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  stands for the chain
        return getattr(self.chain, name)

    async def send(self, raw: bytes) -> str:
        """Pass it on, or not."""
        signature = signature_of(decode_signed(raw))
        self.sent.append(signature)
        height = await self.chain.block_height()
        if not self.loses(height):
            await self.chain.send(raw)
        if self.silent:
            raise SendOutcomeUnknownError("the node does not answer", signature)
        return signature


@dataclass(frozen=True)
class Story:
    """What happens to one settlement in its first life. `signed` is how many transactions it may come to."""

    name: str
    point: Point | None = None
    loses: bool = False
    silent: bool = False
    expires: bool = False
    signed: int = 1


STORIES = (
    Story("nothing goes wrong"),
    Story("dies before it is planned", Point.PLAN_BEFORE),
    Story("dies when it is planned", Point.PLAN_AFTER),
    Story("dies when it is built", Point.STORE_SIGNED_BEFORE),
    Story("dies when it is stored", Point.STORE_SIGNED_AFTER),
    Story("dies before it is sent", Point.SEND_CLOSE_BEFORE),
    Story("dies when it is sent", Point.SEND_CLOSE_AFTER),
    Story("the node takes it, loses it, and the process dies", Point.SEND_CLOSE_AFTER, loses=True),
    Story("it lands and the node's answer is lost", silent=True),
    Story("it lands, the answer is lost, and the process dies", Point.RECORD_BEFORE, silent=True),
    Story("dies when it is confirmed and not recorded", Point.RECORD_BEFORE),
    Story("dies when it is recorded", Point.RECORD_AFTER),
    Story("no node passes it on until its blockhash has expired", expires=True, signed=2),
)


class _Amnesiac(TrappedLedger):
    """Says that it has stored a signed transaction, and has not."""

    async def store_signed(self, *_: object) -> SignedOutcome:
        self._trap.reach(Point.STORE_SIGNED_BEFORE)
        self._trap.reach(Point.STORE_SIGNED_AFTER)
        return SignedOutcome.STORED


async def run(report: Report) -> None:
    """One session for each story, all settled by settlers of this process over the service's own books."""
    configure_logging("critical", "console")  # that nodes fail is the point here
    if report.sabotage:
        report.plant("signed transactions are sent without being stored")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name:
        async with running(Upstream()) as upstream, stage(Path(name), upstream=upstream.url, slot_ms=SLOT_MS) as stood:
            before = await stood.balance(stood.agent.pubkey())
            sessions = [await _session(stood) for _ in STORIES]
            await stood.service.stop()
            for story, session in zip(STORIES, sessions, strict=True):
                await _tell(report, stood, story, session)
            charged = REQUESTS * PRICE * len(STORIES)
            report.equal("settled, from the chain", await stood.balance(stood.payee.pubkey()), charged)
            paid = before - await stood.balance(stood.agent.pubkey())
            report.equal("paid by the agent, from the chain", paid, charged)


async def _session(stood: Stage) -> str:
    async with SessionClient(stood.agent, rpc_url=stood.rpc_url, deposit=DEPOSIT) as client:
        for _ in range(REQUESTS):
            (await client.request("GET", stood.url)).raise_for_status()
        return (await client.sessions())[0].session_id


async def _tell(report: Report, stood: Stage, story: Story, session: str) -> None:
    node = Node(stood.chain, silent=story.silent)
    if story.loses:
        node.loses = lambda _: True
    if story.expires:
        last = (await stood.chain.latest_blockhash()).last_valid_block_height
        node.loses = lambda height: height <= last
    died = await _life(stood, session, node, story.point, sabotage=report.sabotage)
    node.loses, node.silent = (lambda _: False), story.silent
    if died:
        await _life(stood, session, node, None, sabotage=report.sabotage)
    ledger = await SqliteLedger.open(stood.folder / "ledger.sqlite")
    try:
        record = await ledger.session(session)
    finally:
        await ledger.aclose()
    closed = await _closings(stood.chain, session)
    books = "nothing" if record is None else f"{record.settled} + {record.refund}"
    right = record is not None and record.settlement_signature in closed
    spent = REQUESTS * PRICE
    report.equal(
        story.name,
        _sentence(died=died, signed=len(set(node.sent)), landed=len(closed), books=books, right=right),
        _sentence(
            died=story.point is not None,
            signed=story.signed,
            landed=1,
            books=f"{spent} + {DEPOSIT - spent}",
            right=True,
        ),
    )
    report.fact(story.name, {"session": session, "sent": node.sent, "landed": closed})


def _sentence(*, died: bool, signed: int, landed: int, books: str, right: bool) -> str:
    return (
        f"{'died once, ' if died else ''}{signed} signed and sent, {landed} landed; "
        f"the books say {books}{'' if right else ', for another transaction'}"
    )


async def _life(stood: Stage, session: str, node: Node, point: Point | None, *, sabotage: bool) -> bool:
    """Settle until it is done, or dead; which of the two?"""
    file = await SqliteLedger.open(stood.folder / "ledger.sqlite")
    trap = _Death(point, stood.folder / "witness")
    ledger: Ledger = (_Amnesiac if sabotage else TrappedLedger)(file, trap)
    settler = Settler(
        chain=TrappedChain(node, trap),
        ledger=ledger,
        operator=stood.operator,
        clock=SystemClock(),
        timer=SystemTimer(),
        options=SettlerOptions(poll_seconds=_PAUSE_SECONDS),
    )
    try:
        await file.begin_close(session, "the evidence asked for it", SystemClock().now())
        async with asyncio.timeout(SETTLING_SECONDS):
            await _settled(settler, session)
    except _Died:
        return True
    finally:
        await file.aclose()
    return False


async def _settled(settler: Settler, session: str) -> None:
    while True:
        outcome = await settler.settle(session)
        if outcome.is_end:
            return
        await asyncio.sleep(_PAUSE_SECONDS)


async def _closings(chain: Chain, session: str) -> list[str]:
    """The transactions that took effect and closed it, by the program's own word."""
    found = []
    for signature in await chain.signatures_for(Pubkey.from_string(session)):
        info = await chain.transaction(signature)
        if info is not None and info.error is None:
            events = events_from_logs(info.logs)
            found += [signature for event in events if isinstance(event, SessionClosed)]
    return found
