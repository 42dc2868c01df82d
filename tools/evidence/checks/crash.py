"""crash: the service dies at every failpoint, on both stores, while agents go on; then every base unit is counted."""

import asyncio
import random
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from retainer.errors import DishonestServiceError
from tools.evidence.leaks import secrets_of, show_none
from tools.evidence.mortals import Agent, Listener, Mortality, Sums
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.failpoints.points import Point
from tools.ports import held_port
from tools.postgres import postgres
from tools.stage import Service, Stage, stage

RUNS, RUNS_IN_CI = 5, 1
# Quick slots, finality being 32 of them, and not too quick: 150 of them must outlast a restart on a busy machine,
# because what an agent has signed can land no longer.
SLOT_MS = 50
# Longer than a session takes, so that a living service has passed every point by then.
REACHED_SECONDS = 120.0
# A settled session's slot window must be over, and the sweeper must have come by.
RECLAIMED_SECONDS = 240.0

OFFERS = """
[offers.metered]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "0.1"
minimum_deposit = "0.1"
voucher_signer = "operator"
routes = ["/metered/*"]

[offers.vouchers]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "0.1"
minimum_deposit = "0.1"
voucher_signer = "client"
routes = ["/vouchers/*"]

[offers.streams]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "0.1"
minimum_deposit = "0.1"
voucher_signer = "client"
routes = [{path = "/streams/*", max_units = 4, count = "events", stream = true}]

[offers.custodial]
price = "0.008"
mint = "{mint}"
decimals = 6
suggested_deposit = "0.1"
minimum_deposit = "0.1"
voucher_signer = "operator"
anchor_on_chain = false
routes = ["/custodial/*"]
"""
# One agent of each kind on each store.
KINDS = {"metered": Agent, "vouchers": Agent, "streams": Listener, "custodial": Agent}
_QUERY = {"streams": "?parts=3"}
ON_POSTGRES = '[ledger]\nurl = "{url}"\nlease_seconds = 2\n'


@dataclass(slots=True)
class Stand:
    """One service on one store, what it is to die of, and the agents that use it."""

    store: str
    service: Service
    witness: Path
    plan: list[Point]
    agents: list[Agent]
    mortality: Mortality
    forgetful: bool = False
    unreached: list[str] = field(default_factory=list)

    async def run(self, report: Report) -> None:
        """Let it die again and again while the agents live, then let it live until they have closed."""
        over = asyncio.Event()
        living = [asyncio.create_task(agent.live(over.is_set)) for agent in self.agents]
        dying = asyncio.create_task(self._die(report))
        try:
            await asyncio.wait([dying, *living], return_when=asyncio.FIRST_COMPLETED)
            if not dying.done():
                # Nobody ends before it is over: an agent has seen what must not be.
                await next(task for task in living if task.done())
            await dying
            over.set()
            await asyncio.gather(*living)
        except DishonestServiceError as error:
            self.mortality.wrong.append(str(error))
        finally:
            for task in (dying, *living):
                task.cancel()
            await asyncio.gather(dying, *living, return_exceptions=True)

    async def _die(self, report: Report) -> None:
        for number, point in enumerate(self.plan, start=1):
            process = await self._spawn("--point", point)
            try:
                await asyncio.wait_for(process.wait(), RECLAIMED_SECONDS if point.reclaims else REACHED_SECONDS)
            except TimeoutError:
                self.unreached.append(point)
                await self.service.kill()
            self.mortality.deaths.append(point)
            if number % 20 == 0:
                report.step(f"{self.store}: {number} of {len(self.plan)} deaths")
        await self._spawn()

    async def _spawn(self, *options: str) -> asyncio.subprocess.Process:
        sabotage = ("--forgetful",) if self.forgetful else ()
        return await self.service.spawn("tools.failpoints", "--witness", str(self.witness), *options, *sabotage)

    def witnessed(self) -> Counter[str]:
        """How often the process itself has said that it reached a point."""
        return Counter(self.witness.read_text().splitlines() if self.witness.exists() else ())


async def run(report: Report) -> None:
    """Kill at each point on each store, wait until all sessions are closed, and print what they came to."""
    if report.sabotage:
        report.plant("the books lose every Idempotency-Key, so that a retry is charged again")
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as name, postgres() as url:
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(running(Upstream()))
            stood = await stack.enter_async_context(
                stage(
                    Path(name),
                    upstream=upstream.url,
                    offers=OFFERS,
                    slot_ms=SLOT_MS,
                    service={"refund_keypair": "payee.json"},
                    limits={"close_wait_seconds": 10},
                )
            )
            await stood.service.stop()
            stands = [
                await _stand(report, stood, "SQLite", stood.service),
                await _stand(report, stood, "PostgreSQL", _on_postgres(stood, url, stack.enter_context(held_port()))),
            ]
            for stand in stands:
                stack.push_async_callback(stand.service.kill)
            _share(report, stands)
            before = {agent.key.pubkey(): await stood.balance(agent.key.pubkey()) for s in stands for agent in s.agents}
            await asyncio.gather(*(stand.run(report) for stand in stands))
            _tell(report, stands)
            after = [await stood.balance(key) for key in before]
            # The money of custodial sessions is with the payee while they are open; by now all are closed.
            total = sum((stand.mortality.total for stand in stands), start=Sums())
            report.equal("settled, from the chain", await stood.balance(stood.payee.pubkey()), total.settled)
            report.equal("paid by the agents, from the chain", sum(before.values()) - sum(after), total.settled)
            keys = [agent.key for stand in stands for agent in stand.agents]
            show_none(report, [stand.service.log for stand in stands], secrets_of(stood, keys))


def _share(report: Report, stands: list[Stand]) -> None:
    """Every point the asked number of times on each store; at the reduced scale each once, on one of them."""
    rng = random.Random(report.seed)  # noqa: S311  an order, repeatable by seed
    times = report.count(RUNS, RUNS_IN_CI)
    reduced = report.scale != "full" and report.runs is None
    for number, point in enumerate(Point):
        for place, stand in enumerate(stands):
            if (point.on_disk and place) or (reduced and not point.on_disk and number % len(stands) != place):
                continue
            stand.plan += [point] * times
    for stand in stands:
        rng.shuffle(stand.plan)
        stand.plan.sort(key=lambda point: point.reclaims)  # last, when settled sessions have aged


async def _stand(report: Report, stood: Stage, store: str, service: Service) -> Stand:
    mortality = Mortality()
    agents = [
        agent(await stood.new_agent("50.0"), stood.rpc_url, f"{service.url}/{kind}/x{_QUERY.get(kind, '')}", mortality)
        for kind, agent in KINDS.items()
    ]
    witness = stood.folder / f"{store}.witness"
    return Stand(store, service, witness, [], agents, mortality, forgetful=report.sabotage)


def _on_postgres(stood: Stage, url: str, port: int) -> Service:
    used = stood.service.url.rsplit(":", 1)[1]
    text = stood.service.settings.read_text(encoding="utf-8").replace(f"port = {used}\n", f"port = {port}\n")
    settings = stood.folder / "postgres.toml"
    settings.write_text(text + ON_POSTGRES.replace("{url}", url), encoding="utf-8")
    settings.chmod(0o600)
    return Service(settings, stood.folder / "postgres.log", f"http://127.0.0.1:{port}")


def _tell(report: Report, stands: list[Stand]) -> None:
    heading = ("failpoint", "store", "died", "sessions", "lost", "double", "unpaid")
    lines: list[tuple[str, ...]] = [heading]
    for point in Point:
        for stand in stands:
            if point in stand.plan:
                sums, died = stand.mortality.sums.get(point, Sums()), stand.witnessed()[point]
                counts = (died, sums.sessions, sums.lost, sums.double, sums.unpaid)
                lines.append((point, stand.store, *map(str, counts)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    for line in lines:
        report.step("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))
    report.fact("table", lines)
    for stand in stands:
        total, told = stand.mortality.total, stand.store
        planned = Counter(map(str, stand.plan))
        missed = sorted(planned - stand.witnessed())
        report.told(f"{told}: sessions opened, topped up, used and closed", total.sessions)
        report.equal(f"{told}: deaths, each at its failpoint", stand.witnessed().total(), len(stand.plan))
        report.equal(f"{told}: failpoints never reached", missed, [])
        report.equal(f"{told}: base units lost", total.lost, 0)
        report.equal(f"{told}: requests charged twice", total.double, 0)
        report.equal(f"{told}: answers delivered and not paid", total.unpaid, 0)
        report.equal(f"{told}: answers and receipts that contradict others", stand.mortality.wrong, [])
