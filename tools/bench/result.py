"""What a section measured: figures with their goals, beside those of the peer."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. `goal` is text such as "<= 5500" and `met` whether it holds; None for one that is only told.

    `ratio` is `value` over `peer`, the same figure of the alternative measured or published.
    """

    name: str
    value: float
    unit: str
    goal: str | None = None
    met: bool | None = None
    peer: float | None = None
    ratio: float | None = None


@dataclass(slots=True)
class Result:
    """The figures of one section, in the order they were taken, and notes for the reader of the table."""

    section: str
    metrics: list[Metric] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def told(self, name: str, value: float, unit: str, *, peer: float | None = None) -> None:
        """A figure without a goal."""
        self.metrics.append(Metric(name, value, unit, peer=peer, ratio=_ratio(value, peer)))

    def at_most(self, name: str, value: float, limit: float, unit: str, *, peer: float | None = None) -> None:
        """A figure that must not exceed `limit`."""
        self._goal(name, value, f"<= {_shown(limit)}", unit, met=value <= limit, peer=peer)

    def at_least(self, name: str, value: float, limit: float, unit: str, *, peer: float | None = None) -> None:
        """A figure that must reach `limit`."""
        self._goal(name, value, f">= {_shown(limit)}", unit, met=value >= limit, peer=peer)

    def spread(self, name: str, values: Sequence[float], unit: str) -> None:
        """The median of `values` as a figure, with their range in its name."""
        self.told(f"{name} (of {_shown(min(values))} to {_shown(max(values))})", statistics.median(values), unit)

    def note(self, sentence: str) -> None:
        """Something the reader has to know: a source, a condition."""
        self.notes.append(sentence)

    @property
    def met(self) -> bool:
        """Whether no goal was missed."""
        return all(metric.met is not False for metric in self.metrics)

    def as_json(self) -> str:
        """One object, `{section, metrics, notes}`."""
        return json.dumps(asdict(self))

    def as_table(self) -> str:
        """The same for people."""
        rows = [("", "figure", "", "unit", "goal", "peer", "ratio")]
        rows += [
            (
                {True: "ok", False: "MISSED", None: ""}[metric.met],
                metric.name,
                _shown(metric.value),
                metric.unit,
                metric.goal or "",
                "" if metric.peer is None else _shown(metric.peer),
                "" if metric.ratio is None else f"{metric.ratio:.2f}",
            )
            for metric in self.metrics
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        right = (2, 5, 6)
        lines = [
            "  ".join(
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def _goal(self, name: str, value: float, goal: str, unit: str, *, met: bool, peer: float | None) -> None:
        self.metrics.append(Metric(name, value, unit, goal, met, peer, _ratio(value, peer)))


def _ratio(value: float, peer: float | None) -> float | None:
    return None if not peer else value / peer


def _shown(value: float) -> str:
    """Whole numbers in full, others to four significant digits."""
    if float(value).is_integer():
        return f"{int(value):,}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
