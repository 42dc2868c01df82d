"""rpc-chaos: nodes that fail in every way, one that lies, a chain that forks; books and chain agree all the same."""

import logging
import tempfile
from collections import Counter
from pathlib import Path

import structlog

from tests.chaos import Outcome, schedule
from tools.evidence.report import Report

SCHEDULES, SCHEDULES_IN_CI = 1000, 20
# Transactions are few, so that in a short run one of their many fates may not come up.
KINDS = {"429", "500", "timeout", "behind", "lie", "fork"}


async def run(report: Report) -> None:
    """Run so many schedules from consecutive seeds, and compare books and chain after each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if report.sabotage:
        report.plant("a quorum of 1, so that the node that lies is believed")
    schedules = report.count(SCHEDULES, SCHEDULES_IN_CI)
    outcomes: list[Outcome] = []
    for number in range(schedules):
        with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
            outcomes.append(await schedule(report.seed + number, Path(folder), believed=report.sabotage))
        if (number + 1) % 100 == 0:
            report.step(f"{number + 1} of {schedules} schedules")
    met: Counter[str] = sum((outcome.met for outcome in outcomes), Counter())
    ends: Counter[str] = sum((outcome.states for outcome in outcomes), Counter())
    report.told("schedules, each from its own seed", f"{report.seed} to {report.seed + schedules - 1}")
    report.told("troubles met", dict(sorted(met.items())))
    report.told("sessions, by how they ended", dict(sorted(ends.items())))
    report.told("requests answered and charged", sum(outcome.delivered for outcome in outcomes))
    report.told("base units settled", sum(outcome.settled for outcome in outcomes))
    report.told("base units refunded", sum(outcome.refunded for outcome in outcomes))
    report.equal("kinds of trouble that were never met", sorted(KINDS - met.keys()), [])
    wrong = [f"seed {outcome.seed}: {sentence}" for outcome in outcomes for sentence in outcome.wrong]
    for sentence in wrong[:20]:
        print(f"    {sentence}")
    report.fact("wrong", wrong)
    report.equal("sessions settled twice or never, wrong credits, tokens lost", len(wrong), 0)
