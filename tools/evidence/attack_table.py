"""The lines of an attack table, printed and judged the same way for the program and for the service."""

from collections.abc import Sequence

from tests.rows import RowResult
from tools.evidence.report import Report


def show(report: Report, lines: Sequence[RowResult], rows: Sequence[str]) -> None:
    """Prints the table and records that each of `rows` was performed and held."""
    for line in lines:
        verdict = f"refused, in {len(line.tests)} tests" if line.held else "FAILED"
        print(f"    {line.row} | {line.attack} | twin: {line.twin} | {verdict}")
        for failure in line.failures:
            print(f"         {failure}")
    report.told("attacks", len(lines))
    report.told("tests", len({test for line in lines for test in line.tests}))
    performed = {line.row for line in lines if line.tests}
    report.told("rows", len(performed))
    report.equal("rows that no test performs", [row for row in rows if row not in performed], [])
    report.equal(
        "attacks that were not refused, or whose honest twin was", [line.attack for line in lines if not line.held], []
    )
    report.fact("table", [[line.row, line.attack, line.twin, line.held, line.tests] for line in lines])
