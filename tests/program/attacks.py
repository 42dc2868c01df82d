"""The attack table: runs every test that is marked with a row of the catalogue, and says what came of each.

`python -m tests.program.attacks` prints the table and exits with 1 unless every row holds; `--sabotage` plants one
fault, which the table must then show.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from tests.program.harness.judge import let_through

HERE = Path(__file__).parent
ROWS = tuple(f"C{number:02}" for number in (*range(1, 38), *range(43, 51)))
"""The rows that are the program's to hold; C38 to C42 are checks of client, release and operation."""
SABOTAGED = "C02"
PLANTED = (
    f"planted fault: in row {SABOTAGED} the program lets an attack through "
    "(the test sends the honest twin in the attack's place, and says it is the attack)"
)


@dataclass(slots=True)
class RowResult:
    """One line of the table: an attack of a row, its honest twin, and the tests that performed it."""

    row: str
    attack: str
    twin: str
    tests: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether the attack was refused and the twin landed, in every test."""
        return bool(self.tests) and not self.failures


class _Collector:
    """The pytest plugin that gathers what became of each marked test."""

    def __init__(self, *, sabotage: bool) -> None:
        self.lines: dict[tuple[str, str, str], RowResult] = {}
        self._of: dict[str, list[RowResult]] = {}
        self._sabotage = sabotage

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("row"):
                key = (mark.args[0], mark.kwargs["attack"], mark.kwargs["twin"])
                line = self.lines.setdefault(key, RowResult(*key))
                line.tests.append(item.nodeid)
                self._of.setdefault(item.nodeid, []).append(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        planted = self._sabotage and any(line.row == SABOTAGED for line in self._of.get(item.nodeid, ()))
        token = let_through.set(planted)
        try:
            yield
        finally:
            let_through.reset(token)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            for line in self._of.get(report.nodeid, ()):
                line.failures.append(f"{report.nodeid}: {_cause(report)}")


def _cause(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0] if crash else report.longreprtext


def run_rows(*, sabotage: bool = False) -> list[RowResult]:
    """Performs every attack. Lines come in the order of their rows; a row that no test performs is a failed line."""
    collector = _Collector(sabotage=sabotage)
    options = ["-m", "row", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    with redirect_stdout(io.StringIO()) as said:
        status = pytest.main([*options, str(HERE)], plugins=[collector])
    lines = sorted(collector.lines.values(), key=lambda line: line.row)
    performed = {line.row for line in lines}
    missing = [RowResult(row, "not performed by any test", "") for row in ROWS if row not in performed]
    if status == pytest.ExitCode.OK or any(line.failures for line in lines):
        return sorted([*lines, *missing], key=lambda line: line.row)
    return [RowResult("-", "the tests did not run", "", failures=said.getvalue().splitlines())]


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 0 when every row held."""
    parser = argparse.ArgumentParser(prog="python -m tests.program.attacks", description=__doc__)
    parser.add_argument("--sabotage", action="store_true", help=PLANTED)
    asked = parser.parse_args(arguments)
    if asked.sabotage:
        click.echo(PLANTED)
    lines = run_rows(sabotage=asked.sabotage)
    for line in lines:
        result = f"held in {len(line.tests)} tests" if line.held else "FAILED"
        click.echo(f"{line.row} | {line.attack} | {line.twin} | {result}")
        for failure in line.failures:
            click.echo(f"     {failure}")
    failed = sum(not line.held for line in lines)
    click.echo(f"{len(lines)} attacks of {len({line.row for line in lines})} rows, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
