"""attacks-chain: each attack of the catalogue on the compiled program, with its honest twin."""

from tests.program.attacks import PLANTED, ROWS, run_rows
from tools.evidence.attack_table import show
from tools.evidence.report import Report


async def run(report: Report) -> None:
    """Perform every attack and print the table."""
    if report.sabotage:
        report.plant(PLANTED.removeprefix("planted fault: "))
    show(report, run_rows(sabotage=report.sabotage), ROWS)
