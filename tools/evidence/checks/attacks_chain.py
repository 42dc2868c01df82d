"""attacks-chain: each attack of the catalogue on the compiled program, with its honest twin."""

from tests.program.attacks import PLANTED, ROWS, run_rows
from tools.evidence.report import Report


async def run(report: Report) -> None:
    """Perform every attack and print the table."""
    if report.sabotage:
        report.plant(PLANTED.removeprefix("planted fault: "))
    lines = run_rows(sabotage=report.sabotage)
    for line in lines:
        verdict = f"refused, in {len(line.tests)} tests" if line.held else "FAILED"
        print(f"    {line.row} | {line.attack} | twin: {line.twin} | {verdict}")
        for failure in line.failures:
            print(f"         {failure}")
    report.told("attacks", len(lines))
    report.told("tests", sum(len(line.tests) for line in lines))
    performed = {line.row for line in lines if line.tests}
    report.told("rows", len(performed))
    report.equal("rows that no test performs", [row for row in ROWS if row not in performed], [])
    report.equal(
        "attacks that were not refused, or whose honest twin was", [line.attack for line in lines if not line.held], []
    )
    report.fact("table", [[line.row, line.attack, line.twin, line.held, line.tests] for line in lines])
