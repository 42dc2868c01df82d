"""attacks-http: each attack of the catalogue on service and client, with its honest twin."""

import asyncio

from tests.attacks_http import PLANTED, ROWS, perform
from tools.evidence.attack_table import show
from tools.evidence.report import Report


async def run(report: Report) -> None:
    """Perform every attack and print the table."""
    if report.sabotage:
        report.plant(PLANTED)
    # In a thread of its own: the tests bring their own event loops.
    lines = await asyncio.to_thread(perform, sabotage=report.sabotage)
    show(report, lines, ROWS)
