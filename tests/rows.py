"""The mark that ties a test to its row of the attack catalogue, and the tables that are made of the marked tests.

`@row("F09", attack="...", twin="...")`: the attack that the test performs, and the honest twin that it lets succeed.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

Fault = Callable[[frozenset[str]], AbstractContextManager[object]]
"""Switches a guard off while a test of these rows runs."""


@dataclass(slots=True)
class RowResult:
    """One line of a table: an attack of a row, its honest twin, and the tests that performed it."""

    row: str
    attack: str
    twin: str
    tests: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether the attack was refused and the twin succeeded, in every test."""
        return bool(self.tests) and not self.failures


class _Collector:
    """The pytest plugin that gathers what became of each marked test."""

    def __init__(self, rows: Sequence[str], fault: Fault, without: Sequence[str]) -> None:
        self.lines: dict[tuple[str, str, str], RowResult] = {}
        self._of: dict[str, list[RowResult]] = {}
        self._rows = frozenset(rows)
        self._fault = fault
        self._without = without

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = []
        for item in items:
            if any(part in item.nodeid for part in self._without):
                continue
            for mark in item.iter_markers("row"):
                key = (mark.args[0], mark.kwargs["attack"], mark.kwargs["twin"])
                if key[0] not in self._rows:
                    continue
                line = self.lines.setdefault(key, RowResult(*key))
                line.tests.append(item.nodeid)
                self._of.setdefault(item.nodeid, []).append(line)
            if item.nodeid in self._of:
                kept.append(item)
        items[:] = kept

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with self._fault(frozenset(line.row for line in self._of[item.nodeid])):
            yield

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            for line in self._of.get(report.nodeid, ()):
                line.failures.append(f"{report.nodeid}: {_cause(report)}")
        elif report.skipped:
            for line in self._of.get(report.nodeid, ()):
                line.failures.append(f"{report.nodeid}: was skipped")


def _cause(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0] if crash else report.longreprtext


def _no_fault(_: frozenset[str]) -> AbstractContextManager[object]:
    return nullcontext()


def run_rows(
    rows: Sequence[str], folders: Sequence[Path], *, fault: Fault = _no_fault, without: Sequence[str] = ()
) -> list[RowResult]:
    """Performs every attack of these rows whose test lies in `folders`, but for ids that hold a text of `without`.

    Lines come in the order of their rows; a row that no test performs is a failed line.
    """
    collector = _Collector(rows, fault, without)
    options = ["-m", "row", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    # Whoever calls this may have imported what a plugin would rewrite.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with redirect_stdout(io.StringIO()) as said:
        status = pytest.main([*options, *map(str, folders)], plugins=[collector])
    performed = {line.row for line in collector.lines.values()}
    missing = [RowResult(row, "not performed by any test", "") for row in rows if row not in performed]
    lines = sorted([*collector.lines.values(), *missing], key=lambda line: line.row)
    if status == pytest.ExitCode.OK or any(line.failures for line in lines):
        return lines
    return [RowResult("-", "the tests did not run", "", failures=said.getvalue().splitlines())]
