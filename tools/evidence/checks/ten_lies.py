"""ten-lies: a provider that lies in ten ways on a real validator, and the audit that finds each of them out."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from click.testing import CliRunner
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer import SessionClient
from retainer.audit import settlement
from retainer.audit.history import read_life
from retainer.chain.errors import TransactionRefusedError
from retainer.chain.testing import create_ata
from retainer.cli import main
from retainer.errors import DishonestServiceError
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.program_errors import explain
from retainer.protocol.sla import SlaTerms
from tools.evidence.lies import Book, close_with, exported
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import OFFER, Stage, stage

PRICE, DEPOSIT = 8_000, "0.1"
# Six requests: the third is answered with 500, the fifth takes twice as long as agreed.
FAULTS = (None, None, "error", None, "slow", None)
ERROR, SLOW = 3, 5
MAX_LATENCY_MS, SLOW_SECONDS = 300, 0.6
SLOT_MS = 50
LAXER = SlaTerms(max_latency_ms=MAX_LATENCY_MS, accepted_statuses=("2xx", "5xx"), min_body_bytes=1)


@dataclass(frozen=True, slots=True)
class Lie:
    """What is done to the log, and what must give it away. ``before`` the close, or only shown after an honest one."""

    name: str
    sentence: str
    told: Callable[[Book], Book]
    before: bool = True
    more: int = 0


def _dropped(book: Book) -> Book:
    return book.rewritten([entry for entry in book.entries if entry.sequence != ERROR])


def _moved(book: Book) -> Book:
    first, second, *rest = book.entries
    return replace(book, entries=(second, first, *rest))


def _overcharged(book: Book) -> Book:
    return book.changed(2, amount=base_units(2 * PRICE))


def _fine(book: Book) -> Book:
    return book.changed(ERROR, charged=True, term=None, units=1, amount=base_units(PRICE))


def _quick(book: Book) -> Book:
    return book.changed(SLOW, latency_ms=12, charged=True, term=None, units=1, amount=base_units(PRICE))


def _laxer(book: Book) -> Book:
    return replace(_fine(book), header=replace(book.header, sla=LAXER))


LIES = (
    Lie("drops a log line", "the agent holds a receipt for it, and the log does not have it", _dropped),
    Lie("reorders", "lines are missing or moved", _moved, before=False),
    Lie("overcharges one request", "request 2: 1 units cost 8000, and 16000 was charged", _overcharged),
    Lie("claims a breached request was fine", "it was charged, and it broke accepted_statuses", _fine),
    Lie("forges a latency in its log", "the operator signed one thing and logged another: latency", _quick),
    Lie("settles more than it logged", "the log comes to 32000, and 40000 was settled", lambda book: book, more=1),
    Lie("changes the terms", "the terms were changed", _laxer),
)


@dataclass(slots=True)
class Court:
    """The agent with its receipts, the provider with its logs, and the auditor between them."""

    report: Report
    stood: Stage
    client: SessionClient
    folder: Path

    @property
    def logs(self) -> Path:
        """What the provider shows."""
        return self.folder / "logs"

    @property
    def receipts(self) -> Path:
        """What the agent kept."""
        return self.folder / "receipts"

    async def session(self) -> str:
        """Open one, and ask six times."""
        opened = await self.client.create_session(self.stood.url, DEPOSIT)
        for number, fault in enumerate(FAULTS):
            url = f"{self.stood.url}?q={number}" + (f"&fault={fault}" if fault else "")
            try:
                await self.client.request("GET", url, session=opened.session_id)
            except DishonestServiceError as error:
                self.report.step(f"the agent noticed at once: {error}")
                break
        return opened.session_id

    async def closed(self, session: str) -> str:
        """The provider's own close; its signature."""
        try:
            return (await self.client.close_session(session)).signature
        except DishonestServiceError as error:
            self.report.step(f"the agent noticed at the close: {error}")
        life, _ = await read_life(self.stood.chain, Pubkey.from_string(session), PROGRAM_ID)
        return str(life.ending)

    async def show(self, session: str, book: Book) -> Path:
        """What the provider gives to auditors."""
        path = self.logs / f"{session}.jsonl"
        path.write_text(book.text)
        return path

    async def audit(self, *arguments: str) -> tuple[int, list[str]]:
        """`retainer audit ...`: its exit status and its lines."""
        command = ["audit", *arguments, "--receipts", str(self.receipts), "--rpc-url", self.stood.rpc_url]
        told = await asyncio.to_thread(CliRunner().invoke, main, command)
        return told.exit_code, told.output.splitlines()

    async def judge(self, name: str, signature: str, log: Path, sentence: str) -> None:
        """The audit of one settlement must name the lie."""
        self.verdict(name, sentence, *await self.audit("settlement", signature, "--log", str(log)))

    def verdict(self, name: str, sentence: str, status: int, lines: list[str], about: str = "") -> None:
        """Record whether it was caught, with the line that says so."""
        named = next((line for line in lines if sentence in line and about in line and line.startswith("WRONG")), None)
        self.report.equal(f"{name}: exit status", status, 8)
        self.report.equal(f"{name}: named", named is not None, expected=True)
        self.report.step(named or f"not named; the audit said: {' | '.join(lines)}")


async def run(report: Report) -> None:
    """One honest session, then the lies."""
    offers = OFFER.replace("max_latency_ms = 2000", f"max_latency_ms = {MAX_LATENCY_MS}")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name, _sabotage(report):
        folder = Path(name)
        async with (
            running(Upstream(slow_seconds=SLOW_SECONDS)) as upstream,
            stage(folder, upstream=upstream.url, offers=offers, slot_ms=SLOT_MS) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url, receipts=folder / "receipts") as client,
        ):
            court = Court(report, stood, client, folder)
            court.logs.mkdir()
            await _honest(court)
            for lie in LIES:
                await _told(court, lie)
            await _lies_from_the_start(court)
            hidden = await court.session()
            await court.closed(hidden)
            swapped = await _swapped_payee(court)
            await _over_all(court, hidden, swapped)


async def _honest(court: Court) -> None:
    session = await court.session()
    signature = await court.closed(session)
    log = await court.show(session, await exported(court.stood, session))
    status, lines = await court.audit("settlement", signature, "--log", str(log))
    court.report.equal("the honest one: exit status", status, 0)
    court.report.equal("the honest one: contradictions", [line for line in lines if line.startswith("WRONG")], [])
    court.report.step(lines[-1])


async def _told(court: Court, lie: Lie) -> None:
    session = await court.session()
    if lie.before:
        book = lie.told(await exported(court.stood, session))
        signature = await close_with(court.stood, session, book, more=lie.more)
    else:
        signature = await court.closed(session)
        book = lie.told(await exported(court.stood, session))
    court.report.fact(lie.name, {"session": session, "settlement": signature})
    await court.judge(lie.name, signature, await court.show(session, book), lie.sentence)


async def _lies_from_the_start(court: Court) -> None:
    """Receipts, log and settlement agree here: only what the agent saw itself gives these away."""
    for lie, name, sentence in (
        ("receipt", "reuses a receipt", "one receipt was handed out for 2 different requests"),
        ("latency", "forges a latency from the start", "20 ms was signed, and by the agent's clock it took"),
    ):
        await court.stood.service.stop()
        await court.stood.service.start("tools.evidence.liar", lie)
        session = await court.session()
        signature = await court.closed(session)
        court.report.fact(name, {"session": session, "settlement": signature})
        await court.judge(name, signature, await court.show(session, await exported(court.stood, session)), sentence)
    await court.stood.service.stop()
    await court.stood.service.start()


async def _swapped_payee(court: Court) -> str:
    """The chain refuses another payee at the close; so the provider sells a session that pays one from the start."""
    stood, friend = court.stood, Keypair()
    await create_ata(stood.chain, stood.authority, owner=friend.pubkey(), mint=stood.mint)
    session = await court.session()
    try:
        await close_with(stood, session, await exported(stood, session), payee=friend.pubkey())
        refused = "it was accepted"
    except TransactionRefusedError as error:
        refused = explain(error.program_error or 0)
    court.report.step(f"a close that pays a friend is refused by the program: {refused}")
    court.report.equal("swaps the payee at the close: refused", refused != "it was accepted", expected=True)
    await court.closed(session)
    await court.show(session, await exported(stood, session))
    text = stood.service.settings.read_text()
    await stood.service.stop()
    stood.service.settings.write_text(text.replace(str(stood.payee.pubkey()), str(friend.pubkey())))
    await stood.service.start()
    session = await court.session()
    await stood.until_final(await court.closed(session))
    await court.show(session, await exported(stood, session))
    return session


async def _over_all(court: Court, hidden: str, swapped: str) -> None:
    """Two lies show only where all of a provider's sessions are seen."""
    operator = str(court.stood.operator.pubkey())
    status, lines = await court.audit("provider", operator, "--logs", str(court.logs))
    court.verdict("hides a session", "the provider shows no log of it", status, lines, hidden)
    court.verdict("swaps the payee", "the payee was swapped", status, lines, swapped)
    honest = next(line for line in lines if "fit their settlements" in line)
    court.report.step(f"over all sessions: {honest.strip()}")


@contextmanager
def _sabotage(report: Report) -> Iterator[None]:
    if not report.sabotage:
        yield
        return
    report.plant("the audit no longer compares receipts with the log")
    with mock.patch.object(settlement, "_receipt", return_value=()):
        yield
