"""main-job: the demo in a fresh clone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tools.evidence.clones import fresh_clone, processes_under, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from tools.evidence.report import Report

LAST_LINES = [
    "requests 30 · price 0.008 · deposit 1.0 · settled 0.24 · refunded 0.76",
    "transactions 2 · per-request payments would have been 30",
]
UPSTREAM = "examples/upstream.py"


async def run(report: Report) -> None:
    """Clone, run `scripts/demo`, read its last two lines, and look for what it left running."""
    with fresh_clone() as clone:
        if report.sabotage:
            break_the_upstream(clone)
            report.plant("the demo's upstream answers 500, which the SLA leaves uncharged")
        status, lines = await run_command(["scripts/demo"], clone)
        report.equal("exit status", status, 0)
        report.equal("last lines", [line for line in lines if line.strip()][-2:], LAST_LINES)
        report.equal("processes left", processes_under(clone), [])
        report.fact("output", lines)


def break_the_upstream(clone: Path) -> None:
    """Make the cloned upstream answer every request with status 500."""
    path = clone / UPSTREAM
    text, count = re.subn(r'"status": 200', '"status": 500', path.read_text(encoding="utf-8"))
    if count == 0:
        message = f"{UPSTREAM} has no status to break"
        raise RuntimeError(message)
    path.write_text(text, encoding="utf-8")
