"""four-providers: four processes on one PostgreSQL, no session affinity; what is spent is what was delivered."""

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx
import psycopg

from retainer import SessionClient
from retainer.protocol.actions import CloseAction, UseAction
from retainer.protocol.credentials import authorization_header, parse_authorization
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.stores.postgres_reader import reading
from tools.evidence.report import Report
from tools.evidence.services import another
from tools.evidence.upstream import Upstream, running
from tools.postgres import postgres
from tools.stage import Service, Stage, stage

PROVIDERS: Final = 4
AGENTS, AGENTS_IN_CI = 200, 8
REQUESTS, REQUESTS_IN_CI = 10_000, 300
IN_FLIGHT, IN_FLIGHT_IN_CI = 500, 100
PRICE, DEPOSIT = 8_000, 2_000_000
AFFORDABLE: Final = DEPOSIT // PRICE
UPSTREAM_SECONDS: Final = 0.3
AT_ONCE_ON_CHAIN: Final = 8
OK, PAYMENT_REQUIRED, BAD_GATEWAY = 200, 402, 502

# One address and one payer at times send everything.
LIMITS: Final = {"shutdown_seconds": 5, "payer_requests_per_second": 0, "payer_concurrent_requests": IN_FLIGHT}
# Without an SLA: a free answer on a busy machine would be no fault, and blur the sums.
OFFER: Final = """
[ledger]
url = "{url}"
lease_seconds = 3

[offers.demo]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "2.0"
minimum_deposit = "0.1"
voucher_signer = "operator"
routes = ["/v1/*"]
"""
# Behind the services' back, and past their guards.
FAULT: Final = """
CREATE FUNCTION charge_twice() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN NEW.spent := NEW.spent + (NEW.spent - OLD.spent); RETURN NEW; END $$;
CREATE TRIGGER charge_twice BEFORE UPDATE ON session FOR EACH ROW
  WHEN (NEW.spent > OLD.spent AND NEW.sequence % 10 = 0) EXECUTE FUNCTION charge_twice()"""


@dataclass(frozen=True, slots=True)
class Agent:
    """One payer's session and the credential that uses it, as it was sent by a client of ours."""

    session: str
    header: str

    def closing(self) -> str:
        """The credential that closes the session."""
        used = parse_authorization(self.header)
        if not isinstance(used.action, UseAction):
            raise TypeError(f"a request was paid by {type(used.action).__name__}")
        return authorization_header(
            replace(used, action=CloseAction(used.action.channel_id, used.action.authentication))
        )


@dataclass(slots=True)
class Load:
    """Sends requests to the services in turn, so many at once, each until it is answered or refused for good."""

    services: Sequence[Service]
    clients: Sequence[httpx.AsyncClient]
    width: int
    delivered: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    _awaited: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, work: Sequence[tuple[Agent, str]]) -> None:
        """Each pair is an agent and a key of its own."""
        left = iter(enumerate(work))
        await asyncio.gather(*(self._take(left) for _ in range(self.width)))

    async def answered(self, count: int) -> None:
        """Return once so many were served since ``statuses`` was cleared."""
        self._awaited, self._reached = count, asyncio.Event()
        await self._reached.wait()

    async def _take(self, left: "enumerate[tuple[Agent, str]]") -> None:
        for number, (agent, key) in left:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            await self._until_answered(agent, key, number)
            self.in_flight -= 1

    async def _until_answered(self, agent: Agent, key: str, first: int) -> None:
        headers = {"Authorization": agent.header, "Idempotency-Key": key}
        for number in itertools.count(first):
            place = number % len(self.services)
            url = f"{self.services[place].url}/v1/report?fault=slow"
            try:
                answer = await self.clients[place].get(url, headers=headers)
            except httpx.TransportError:
                self.broken += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status_code in {OK, PAYMENT_REQUIRED}:
                self.statuses[answer.status_code] += 1
                self.delivered[agent.session] += answer.status_code == OK
                if self.statuses[OK] == self._awaited:
                    self._reached.set()
                return
            self.broken += 1  # 409: a dead process was at it; 503: not now
            if answer.status_code == BAD_GATEWAY:  # free, and the answer to this key from now on: ask anew
                headers = {**headers, "Idempotency-Key": f"{key}-{number}"}
            await asyncio.sleep(0.3)


async def run(report: Report) -> None:
    """Load all four, race for the last units of one session, kill one of the four under load; then settle."""
    agents_wanted = AGENTS if report.scale == "full" else AGENTS_IN_CI
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name, postgres() as url:
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(running(Upstream(slow_seconds=UPSTREAM_SECONDS)))
            offers = OFFER.replace("{url}", url)
            stood = await stack.enter_async_context(
                stage(Path(name), upstream=upstream.url, offers=offers, slot_ms=100, limits=LIMITS)
            )
            services = [stood.service, *[await another(stood, stack, number) for number in range(1, PROVIDERS)]]
            if report.sabotage:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(FAULT)
                report.plant("the database charges every 10th request of a session twice")
            agents = await _agents(stood, stack, agents_wanted)
            report.step(f"{len(services)} services on one database, {len(agents)} agents with a session each")
            clients = [
                await stack.enter_async_context(
                    httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))
                )
                for _ in services
            ]
            width = IN_FLIGHT if report.scale == "full" else IN_FLIGHT_IN_CI
            load = Load(services, clients, width)
            for agent in agents:
                load.delivered[agent.session] = 1  # the one that opened it
            await _spread(report, load, agents[1:], url)
            await _race(report, load, agents[0], url)
            await _kill_one(report, load, agents[1:], url)
            await _settle(report, stood, load, agents, url)


async def _agents(stood: Stage, stack: AsyncExitStack, count: int) -> list[Agent]:
    slots = asyncio.Semaphore(AT_ONCE_ON_CHAIN)

    async def open_one() -> Agent:
        async with slots:
            key = await stood.new_agent()
            client = await stack.enter_async_context(SessionClient(key, rpc_url=stood.rpc_url, deposit="2.0"))
            answer = await client.request("GET", stood.url)
            answer.raise_for_status()
        (session,) = await client.sessions()
        return Agent(session.session_id, answer.request.headers["Authorization"])

    return list(await asyncio.gather(*(open_one() for _ in range(count))))


async def _spread(report: Report, load: Load, agents: Sequence[Agent], url: str) -> None:
    count = report.count(REQUESTS, REQUESTS_IN_CI)
    await _timed(report, load, [(agents[number % len(agents)], f"spread-{number}") for number in range(count)])
    report.equal("requests answered by four services", load.statuses[OK], count)
    report.at_least("most in flight at once", load.most_in_flight, load.width)
    await _compare(report, "after the load", load, url)


async def _race(report: Report, load: Load, agent: Agent, url: str) -> None:
    count = max(report.count(REQUESTS, REQUESTS_IN_CI), AFFORDABLE + 50)
    load.statuses.clear()
    left = AFFORDABLE - load.delivered[agent.session]
    await _timed(report, load, [(agent, f"race-{number}") for number in range(count)])
    report.equal(f"of {count} racers for {left} requests' money, served", load.statuses[OK], left)
    report.equal("and refused with 402", load.statuses[PAYMENT_REQUIRED], count - left)
    await _compare(report, "after the race", load, url)


async def _kill_one(report: Report, load: Load, agents: Sequence[Agent], url: str) -> None:
    count = report.count(REQUESTS, REQUESTS_IN_CI)
    load.statuses.clear()
    load.broken = 0
    work = [(agents[number % len(agents)], f"killed-{number}") for number in range(count)]
    sending = asyncio.create_task(_timed(report, load, work))
    await load.answered(count // 4)
    await load.services[-1].kill()
    report.step(f"one of four killed after {load.statuses[OK]} answers, with {load.in_flight} requests in flight")
    await sending
    report.equal("requests answered all the same", load.statuses[OK], count)
    report.at_least("attempts that broke on the dead one and were repeated elsewhere", load.broken, 1)
    await _compare(report, "after the kill", load, url)


async def _timed(report: Report, load: Load, work: Sequence[tuple[Agent, str]]) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await load.send(work)
    seconds = loop.time() - started
    report.told(f"{len(work)} requests took, in seconds", round(seconds, 1))


async def _compare(report: Report, when: str, load: Load, url: str) -> None:
    records = await _records(url)
    wrong = [one.session_id for one in records if one.spent != load.delivered[one.session_id] * PRICE]
    over = [one.session_id for one in records if one.spent + one.reserved > one.deposit]
    report.equal(f"{when}: sessions whose spent is not what was delivered", len(wrong), 0)
    report.equal(f"{when}: sessions above their deposit", len(over), 0)
    report.equal(
        f"{when}: answers charged, of {load.delivered.total()} delivered", _requests(records), load.delivered.total()
    )


def _requests(records: Sequence[SessionRecord]) -> int:
    return sum(record.spent for record in records) // PRICE


async def _records(url: str) -> list[SessionRecord]:
    found: list[SessionRecord] = []
    async with reading(url) as books:
        while page := await books.sessions(after=found[-1].number if found else 0):
            found += page
    return found


async def _settle(report: Report, stood: Stage, load: Load, agents: Sequence[Agent], url: str) -> None:
    spent = sum(record.spent for record in await _records(url))
    slots = asyncio.Semaphore(AT_ONCE_ON_CHAIN)

    async def close(number: int, agent: Agent) -> None:
        place = number % (PROVIDERS - 1)
        async with slots:
            headers = {"Authorization": agent.closing()}
            answer = await load.clients[place].get(f"{load.services[place].url}/v1/report", headers=headers)
            answer.raise_for_status()

    await asyncio.gather(*(close(number, agent) for number, agent in enumerate(agents)))
    records = await _records(url)
    settled = sum(record.settled == record.spent for record in records)
    report.equal("sessions settled for what was spent, by the three that are left", settled, len(agents))
    report.equal("nothing held", sum(record.reserved for record in records), 0)
    report.equal("settled, from the chain", await stood.balance(stood.payee.pubkey()), spent)
