"""stateful: random calls, deaths included; after every step each store's books agree with a simple model."""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Set as AbstractSet
from typing import Final

import apsw
import psycopg
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from retainer_provider.books.ledger import Ledger
from tests.machine.stores import LedgerMachine, postgres_machine, sqlite_machine
from tools.evidence.report import Report
from tools.postgres import postgres

STEPS, STEPS_IN_CI = 10_000, 1500
STEPS_OF_ONE_LIFE, LIVES_OF_ONE_SEED = 50, 40
# What must have come up for a run to mean anything: it goes on until then, up to so many times its steps.
PATIENCE: Final = 20
ENDS: Final = frozenset(
    {
        "ReserveOutcome.reserved",
        "ReserveOutcome.replay",
        "ReserveOutcome.depleted",
        "ReserveOutcome.closing",
        "CommitOutcome.committed",
        "CommitOutcome.lost",
        "CommitOutcome.free_exhausted",
        "DepositOutcome.applied",
        "PlanOutcome.planned",
        "SignedOutcome.stored",
        "RecordOutcome.recorded",
        "restarts",
        "DeliverOutcome.kept",
        "cut streams booked",
        "ExpectOutcome.replayed",
        "CreditOutcome.credited",
        "CreditOutcome.already",
        "custodial refunds",
        "plans that give units back",
        "AdoptOutcome.adopted",
        "AdoptOutcome.known",
        "deaths in a commit that is booked afterwards",
        "deaths in a commit that is not booked afterwards",
    }
)
# Of books that processes share, where one may live on without its lease.
ENDS_OF_LEASES: Final = frozenset(
    {"leases lost", "commits refused after the lease was lost", "parts held back after the lease was lost"}
)
# In a short run some ends may not come up, whatever the seed.
ENDS_IN_CI: Final = frozenset({"ReserveOutcome.reserved", "CommitOutcome.committed", "restarts"})
# Behind the store's back, and past its guards: every third charge of a session is forgotten.
SQLITE_FAULT: Final = """
CREATE TRIGGER IF NOT EXISTS forget AFTER UPDATE OF spent ON session
  WHEN NEW.spent > OLD.spent AND NEW.sequence % 3 = 0
  BEGIN UPDATE session SET spent = OLD.spent WHERE number = NEW.number; END"""
POSTGRES_FAULT: Final = """
CREATE OR REPLACE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN NEW.spent := OLD.spent; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER forget BEFORE UPDATE ON session FOR EACH ROW
  WHEN (NEW.spent > OLD.spent AND NEW.sequence % 3 = 0) EXECUTE FUNCTION forget()"""


async def run(report: Report) -> None:
    """Take the steps on both stores, seed after seed."""
    # A restart that finds requests in flight says so, thousands of times.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # So does what a process that died had connected with.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    if report.sabotage:
        report.plant("the database forgets every third charge of a session, on both stores")
    with postgres() as url:
        stores = {"SQLite": sqlite_machine(), "PostgreSQL": postgres_machine(url)}
        if report.sabotage:
            stores = {"SQLite": _forgetful_file(stores["SQLite"]), "PostgreSQL": _forgetful(stores["PostgreSQL"], url)}
        for name, machine in stores.items():
            # The machine drives a loop of its own.
            await asyncio.to_thread(_show, report, name, machine)


def _show(report: Report, store: str, machine: type[LedgerMachine]) -> None:
    goal, number, disagreement = report.count(STEPS, STEPS_IN_CI), report.seed, ""
    wanted = ENDS | (ENDS_OF_LEASES if machine.shared else frozenset())
    wanted = wanted if report.scale == "full" else ENDS_IN_CI
    while not disagreement and (machine.met["steps"] < goal or _missing(machine, wanted, goal)):
        disagreement = _disagreement(machine, number)
        number += 1
        if (number - report.seed) % 5 == 0:
            report.step(f"{store}: {machine.met['steps']} of {goal} steps")
    ends = Counter({what: count for what, count in sorted(machine.met.items()) if what != "steps"})
    report.told(f"{store}: seeds", f"{report.seed} to {number - 1}, each {LIVES_OF_ONE_SEED} lives of the books")
    for what, count in ends.items():
        print(f"       {count:6} {what}")
    report.fact(f"{store}: what the steps came to", ends)
    if disagreement:
        print(disagreement)
        report.fact(f"{store}: disagreement", disagreement)
    report.equal(f"{store}: seeds in which ledger and model disagreed", int(bool(disagreement)), 0)
    report.at_least(f"{store}: steps, each followed by a comparison of everything", machine.met["steps"], goal)
    report.equal(f"{store}: ends that never came up", sorted(wanted - ends.keys()), [])


def _missing(machine: type[LedgerMachine], wanted: AbstractSet[str], goal: int) -> AbstractSet[str]:
    """What has not come up yet; empty as well when it is no use to go on."""
    return wanted - machine.met.keys() if machine.met["steps"] < PATIENCE * goal else frozenset()


def _disagreement(machine: type[LedgerMachine], number: int) -> str:
    """The step that showed one, and the steps before it; empty when ledger and model agree."""
    try:
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=LIVES_OF_ONE_SEED,
                stateful_step_count=STEPS_OF_ONE_LIFE,
                phases=[Phase.generate],  # shrinking takes minutes; the seed repeats it
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as error:  # noqa: BLE001 - whatever a step raises that the model did not foresee
        where = traceback.extract_tb(error.__traceback__)[-1]
        steps = "\n".join(getattr(error, "__notes__", ()))
        return f"seed {number}: {where.name}: {where.line} ({type(error).__name__} {error})\n{steps}"
    return ""


def _forgetful_file(machine: type[LedgerMachine]) -> type[LedgerMachine]:
    class Forgetful(machine):  # type: ignore[misc, valid-type] # a class made at run time
        async def open_books(self, *, anew: bool) -> Ledger:
            if anew:
                await (await super().open_books(anew=True)).aclose()
                connection = apsw.Connection(str(self.folder / "ledger.db"))
                connection.execute(SQLITE_FAULT)
                connection.close()
            books: Ledger = await super().open_books(anew=False)
            return books

    return Forgetful


def _forgetful(machine: type[LedgerMachine], url: str) -> type[LedgerMachine]:
    class Forgetful(machine):  # type: ignore[misc, valid-type] # a class made at run time
        async def open_books(self, *, anew: bool) -> Ledger:
            books: Ledger = await super().open_books(anew=anew)
            if anew:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(POSTGRES_FAULT)
            return books

    return Forgetful
