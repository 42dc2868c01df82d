"""attacks-http: each attack of the catalogue on service and client, with its honest twin."""

import asyncio
from typing import Final

from tests.attacks_http import PLANTED, ROWS, UNGUARDED, perform, perform_unguarded
from tools.evidence.attack_table import show
from tools.evidence.replays import replayed
from tools.evidence.report import Report
from tools.evidence.siege import besieged

# Left to the test suite at the small scale: what SQLite shows as well, what starts servers, what kills processes.
SLOW: Final = ("[postgres]", "test_a_server_that_may_forget", "test_a_kill_at_any_moment", "test_processes_that_race")


async def run(report: Report) -> None:
    """Attack running processes, then perform every row's tests and print the table."""
    # In a thread of its own: the tests bring their own event loops.
    if report.sabotage:
        report.plant(PLANTED)
        show(report, await asyncio.to_thread(perform_unguarded), [UNGUARDED])
        return
    await replayed(report)
    await besieged(report)
    show(report, await asyncio.to_thread(perform, without=SLOW if report.scale == "ci" else ()), ROWS)
