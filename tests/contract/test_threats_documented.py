"""docs/threat-model.md has every row of the attack catalogue, and names the tests that are marked with it."""

import re
from pathlib import Path

from tests.attacks_http import ROWS as SERVICE_ROWS
from tests.program.attacks import ROWS as PROGRAM_ROWS

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "threat-model.md").read_text()


def documented() -> dict[str, set[str]]:
    """Row -> the test files that the page names."""
    lines = re.findall(r"^\| ([CF]\d\d) \|[^|]+\|[^|]+\| (.+) \|$", PAGE, re.MULTILINE)
    assert len(lines) == len(dict(lines)), "a row stands twice"
    return {row: set(re.findall(r"`([^`]+)`", shown)) for row, shown in lines}


def marked() -> dict[str, set[str]]:
    """Row -> the test files with a mark of it."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for row in re.findall(r'\brow\(\s*"([CF]\d\d)"', path.read_text()):
            found.setdefault(row, set()).add(path.relative_to(TESTS).as_posix())
    return found


def test_every_row_is_documented_with_the_tests_that_perform_it() -> None:
    assert documented() == marked()


def test_the_tables_are_the_whole_catalogue() -> None:
    assert sorted(documented()) == sorted({*PROGRAM_ROWS, *SERVICE_ROWS})
