"""fuzz-program: random instructions on the compiled program, judged by a model after every step."""

from collections import Counter
from dataclasses import fields

from tests.program.fuzz import PLANTED, FuzzFailure
from tests.program.fuzz import run as fuzz
from tools.evidence.report import Report

RUNS, RUNS_IN_CI = 100_000, 10_000


async def run(report: Report) -> None:
    """Fuzz with this run's seed, which shows the same difference again."""
    if report.sabotage:
        report.plant(PLANTED.removeprefix("planted fault: "))
    runs = report.count(RUNS, RUNS_IN_CI)
    try:
        done = fuzz(runs, report.seed, sabotage=report.sabotage)
    except FuzzFailure as difference:
        report.equal("first difference between program and model", str(difference), "none")
        return
    report.at_least("instructions", done.instructions, runs)
    report.told("transactions", done.transactions)
    report.told("landed, by instruction", dict(sorted(done.landed.items())))
    report.told("refused, by instruction", dict(sorted(done.refused.items())))
    report.told("reasons of refusals met", len(done.reasons))
    report.told("exits tried", done.exits)
    report.equal(
        "tokens in - settled - refunded - still escrowed",
        done.paid_in + done.given - done.settled - done.refunded - done.escrowed,
        0,
    )
    for one in fields(done):
        report.fact(one.name, _plain(getattr(done, one.name)))


def _plain(value: object) -> object:
    if isinstance(value, Counter):
        return {str(key): count for key, count in value.most_common()}
    return value
