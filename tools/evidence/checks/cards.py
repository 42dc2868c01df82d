"""cards: 50 cards on 4 responders and 2 nodes, one of which is killed; threads, upstream and books are compared."""

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from retainer import SessionClient
from retainer_provider.books.stores.postgres_reader import reading
from tools.evidence.conversations import Conversation, Responders, Writer, answer_to
from tools.evidence.report import Report
from tools.evidence.services import another
from tools.evidence.upstream import running
from tools.postgres import postgres
from tools.stage import Service, Stage, stage

CARDS: Final = 50
PAYERS: Final = 5
MESSAGES, MESSAGES_IN_CI = 6, 2
RESPONDERS: Final = {"ada": "north", "bob": "north", "cleo": "south", "dora": "south"}
PRICE: Final = 8_000
THINKING_SECONDS: Final = 0.15
LOOK_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 300

LIMITS: Final = {"shutdown_seconds": 5, "payer_requests_per_second": 0}
# Without an SLA: a free answer on a busy machine would be no fault, and blur the sums.
OFFER: Final = """
[ledger]
url = "{url}"
lease_seconds = 5

[offers.demo]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "2.0"
minimum_deposit = "0.1"
voucher_signer = "operator"
routes = ["/v1/*"]
""" + "".join(
    f'\n[responders.{name}]\nupstream = "/v1/{name}"\noffer = "demo"\nnode = "{node}"\n'
    for name, node in RESPONDERS.items()
)
# Behind the services' back: a turn that has ended is as good as new.
FAULT: Final = """
CREATE FUNCTION forget_end() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN NEW.state := 'queued'; NEW.attempt := 1; NEW.request := NULL; NEW.answer := NULL; RETURN NEW; END $$;
CREATE TRIGGER forget_end BEFORE UPDATE ON card_turn FOR EACH ROW
  WHEN (NEW.state = 'done' AND OLD.state = 'running' AND NEW.attempt = 0 AND NEW.number % 10 = 0)
  EXECUTE FUNCTION forget_end()"""
_TURNS: Final = "SELECT responder, card, line, kind, state FROM card_turn ORDER BY number"
_COSTS: Final = (
    "SELECT session, sum(amount) FROM card_runtime JOIN card ON card.id = card_runtime.card GROUP BY session"
)
_FENCES: Final = "SELECT fence FROM responder"
_BOOKED: Final = """
  SELECT count(*), count(DISTINCT substring(key FROM 'card-turn-[0-9]+')) FROM answer WHERE key LIKE 'card-turn-%'"""


@dataclass(frozen=True, slots=True)
class Payer:
    """One session and its credential."""

    session: str
    header: str


async def run(report: Report) -> None:
    """Write on all cards through both nodes, kill one of them on the way, and look at what came of every message."""
    upstream = Responders(slow_seconds=THINKING_SECONDS, pick=random.Random(report.seed))  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name, postgres() as url:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(upstream))
            stood = await stack.enter_async_context(
                stage(
                    Path(name),
                    upstream=upstream.url,
                    offers=OFFER.replace("{url}", url),
                    slot_ms=100,
                    service={"node": "north"},
                    limits=LIMITS,
                )
            )
            south = await another(stood, stack, 1, node="south")
            if report.sabotage:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(FAULT)
                report.plant("the database forgets that every tenth turn has ended")
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
            payers = list(await asyncio.gather(*(_payer(stood, stack) for _ in range(PAYERS))))
            writers = [Writer([stood.service, south], http, payer.header) for payer in payers]
            talks = _talks(report, writers)
            cards = await asyncio.gather(*(talk.open(number) for number, talk in enumerate(talks)))
            hosts = await _hosts(writers[0], RESPONDERS)
            report.equal("responders at home on two nodes", hosts, RESPONDERS)
            await _talk_and_kill(report, upstream, talks, cards, south)
            _compare_threads(report, talks, [await talk.thread(card) for talk, card in zip(talks, cards, strict=True)])
            left = dict.fromkeys(RESPONDERS, "north")
            hosts = await _hosts(writers[0], left)
            report.equal("responders hosted in the end by the node that is left", hosts, left)
            _compare_upstream(report, upstream, url)
            await _compare_books(report, payers, talks, url)


async def _payer(stood: Stage, stack: AsyncExitStack) -> Payer:
    key = await stood.new_agent()
    client = await stack.enter_async_context(SessionClient(key, rpc_url=stood.rpc_url, deposit="2.0"))
    answer = await client.request("GET", stood.url)
    answer.raise_for_status()
    (session,) = await client.sessions()
    return Payer(session.session_id, answer.request.headers["Authorization"])


def _talks(report: Report, writers: Sequence[Writer]) -> list[Conversation]:
    count, names = report.count(MESSAGES, MESSAGES_IN_CI), list(RESPONDERS)
    return [
        Conversation(
            writers[number % len(writers)],
            names[number % len(names)],
            titled=number % 2 == 0,
            questions=[f"card {number}, question {place}" for place in range(count)],
        )
        for number in range(CARDS)
    ]


async def _hosts(writer: Writer, wanted: dict[str, str]) -> dict[str, str]:
    """Which node hosts each responder, once that is as wanted: until a node is there, another one stands in for it."""
    hosts: dict[str, str] = {}

    async def settled() -> bool:
        told = (await writer.call("GET", "responders"))["responders"]
        hosts.update({one["name"]: one["node"] for one in told})
        return hosts == wanted

    with suppress(TimeoutError):
        await _until(settled, LOOK_SECONDS)
    return hosts


async def _talk_and_kill(
    report: Report, upstream: Responders, talks: Sequence[Conversation], cards: Sequence[str], south: Service
) -> None:
    asked = sum(len(talk.questions) for talk in talks)
    turns = asked + sum(not talk.titled for talk in talks)
    report.step(f"{CARDS} cards of {PAYERS} sessions, {asked} messages through two nodes: {turns} turns")

    async def talk(one: Conversation, card: str) -> None:
        for place in range(len(one.questions)):
            await one.ask(card, place)

    writing = asyncio.gather(*(talk(one, card) for one, card in zip(talks, cards, strict=True)))
    loop = asyncio.get_running_loop()
    writers = {id(one.writer): one.writer for one in talks}.values()
    doomed = {name for name, node in RESPONDERS.items() if node == "south"}

    async def amid() -> bool:
        return len(upstream.asked) >= turns // 3 and all(upstream.running[name] for name in doomed)

    async def taken_over() -> bool:
        return any(name in doomed for name, *_ in upstream.asked[before:])

    async def quiet() -> bool:
        listed = [await writer.call("GET", "cards") for writer in writers]
        return not any(card["waiting"] for one in listed for card in one["cards"])

    await _until(amid, 0.005)
    await south.kill()
    killed_at, before = loop.time(), len(upstream.asked)
    report.step(f"node south killed after {before} turns, while both of its responders were being asked")
    await _until(taken_over, 0.02)
    report.told("seconds until its responders answered elsewhere", round(loop.time() - killed_at, 1))
    await writing
    await _until(quiet, LOOK_SECONDS)
    broken = sum(writer.broken for writer in writers)
    report.told("requests that broke on the dead node and were sent again", broken)


async def _until(holds: Callable[[], Awaitable[bool]], pause: float) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(pause)


def _compare_threads(report: Report, talks: Sequence[Conversation], threads: Sequence[Any]) -> None:
    once = in_order = kept = titled = 0
    for talk, thread in zip(talks, threads, strict=True):
        lines = thread["thread"]
        people = [line for line in lines if line["role"] == "person"]
        answers = [line for line in lines if line["role"] == "responder"]
        kept += [line["body"] for line in people] == list(talk.questions)
        wanted = [(line["line"], answer_to(line["body"])) for line in people]
        given = [(line["answers"], line["body"]) for line in answers]
        once += sum(given.count(one) == 1 for one in wanted) * (len(given) == len(wanted))
        in_order += given == wanted
        titled += thread["title"] is not None and thread["status"] == "active"
    report.equal("cards whose messages all stand in their thread, once, in order", kept, len(talks))
    report.equal("messages answered once", once, sum(len(talk.questions) for talk in talks))
    report.equal("cards whose answers came in the order of their messages", in_order, len(talks))
    report.equal("cards with a title, and nothing wrong", titled, len(talks))


def _compare_upstream(report: Report, upstream: Responders, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        turns = connection.execute(_TURNS).fetchall()
        report.equal("turns that are not done", [turn for turn in turns if turn[-1] != "done"], [])
        changes = sum(int(fence) - 1 for (fence,) in connection.execute(_FENCES).fetchall())
    repeated = sum(count - 1 for count in upstream.executions.values())
    report.equal("turns that the upstream was asked for", len(upstream.executions), len(turns))
    # A host that dies, or that a busy machine keeps from renewing its lease, takes at most one answer with it.
    report.at_most("turns asked again, of which each change of a host may cost one", repeated, changes)
    differing = sum(len(bodies) > 1 for bodies in upstream.bodies.values())
    report.equal("repeated requests that were not the same, byte for byte", differing, 0)
    report.equal("most at once on any one responder", max(upstream.most_at_once.values()), 1)
    out_of_turn = [
        name
        for name in RESPONDERS
        if [one[1:] for one in upstream.asked if one[0] == name] != [turn[1:4] for turn in turns if turn[0] == name]
    ]
    report.equal("responders that were not asked first in, first out", out_of_turn, [])


async def _compare_books(report: Report, payers: Sequence[Payer], talks: Sequence[Conversation], url: str) -> None:
    wrong_spent = wrong_usage = over = 0
    with psycopg.connect(url, autocommit=True) as connection:
        booked, distinct = connection.execute(_BOOKED).fetchone() or (0, 0)
        costs = {str(session): int(amount) for session, amount in connection.execute(_COSTS).fetchall()}
    async with reading(url) as books:
        for place, payer in enumerate(payers):
            own = [talk for number, talk in enumerate(talks) if number % len(payers) == place]
            turns = sum(len(talk.questions) + (not talk.titled) for talk in own)
            record = await books.session(payer.session)
            entries = await books.usage(payer.session)
            # The request that opened the session was one as well.
            expected = PRICE * (turns + 1)
            wrong_spent += record is None or record.spent != expected or costs[payer.session] != expected - PRICE
            wrong_usage += sum(entry.charged for entry in entries) != turns + 1
            over += record is None or record.spent > record.deposit or record.reserved > 0
    turns = sum(len(talk.questions) + (not talk.titled) for talk in talks)
    report.equal("charges in the ledger under keys of turns", (booked, distinct), (turns, turns))
    report.equal("sessions whose spent is not a price for each turn, in ledger and cards", wrong_spent, 0)
    report.equal("sessions whose usage log has another number of charges", wrong_usage, 0)
    report.equal("sessions above their deposit, or with something held still", over, 0)
