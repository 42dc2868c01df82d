"""The program's attack table: runs every test that is marked with a row of the catalogue, and says what came of each.

`python -m tests.program.attacks` prints the table and exits with 1 unless every row holds; `--sabotage` plants one
fault, which the table must then show.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tests.program.harness.judge import let_through
from tests.rows import RowResult
from tests.rows import run_rows as run_marked

HERE = Path(__file__).parent
ROWS = tuple(f"C{number:02}" for number in (*range(1, 38), *range(43, 51)))
"""The rows that are the program's to hold; C38 to C42 are checks of client, release and operation."""
SABOTAGED = "C02"
PLANTED = (
    f"planted fault: in row {SABOTAGED} the program lets an attack through "
    "(the test sends the honest twin in the attack's place, and says it is the attack)"
)


@contextmanager
def _fault(rows: frozenset[str]) -> Iterator[None]:
    token = let_through.set(SABOTAGED in rows)
    try:
        yield
    finally:
        let_through.reset(token)


def run_rows(*, sabotage: bool = False) -> list[RowResult]:
    """Performs every attack on the program; a row that no test performs is a failed line."""
    return run_marked(ROWS, [HERE], fault=_fault) if sabotage else run_marked(ROWS, [HERE])


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
