"""What one check shows: figures with their goals, and the facts a reader needs to repeat it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside what it must be; `holds` is None for a figure that is only told."""

    name: str
    value: object
    goal: str
    holds: bool | None


@dataclass(slots=True)
class Report:
    """Collects figures and facts while a check runs, and prints each as it comes.

    `scale` is "full" or "ci" (smaller counts, the same assertions); `sabotage` asks the check to
    plant its fault and `plant` names it. A check that records no goal does not hold.
    """

    name: str
    seed: int
    scale: str = "full"
    sabotage: bool = False
    runs: int | None = None
    fault: str | None = None
    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)

    def count(self, full: int, ci: int) -> int:
        """The number of repetitions at this scale; `--runs N` overrides both."""
        if self.runs is not None:
            return self.runs
        return full if self.scale == "full" else ci

    def step(self, text: str) -> None:
        """Progress for the reader."""
        print(f"  · {text}", flush=True)

    def plant(self, fault: str) -> None:
        """Name the fault that this sabotaged run carries."""
        self.fault = fault
        print(f"  ! planted: {fault}", flush=True)

    def told(self, name: str, value: object) -> None:
        """Record a measured figure that has no goal."""
        self._add(Figure(name, value, "", None))

    def equal(self, name: str, value: object, expected: object) -> None:
        """Record a figure that must equal `expected`."""
        self._add(Figure(name, value, f"= {expected}", value == expected))

    def at_most(self, name: str, value: float, limit: float) -> None:
        """Record a figure that must not exceed `limit`."""
        self._add(Figure(name, value, f"<= {limit}", value <= limit))

    def at_least(self, name: str, value: float, limit: float) -> None:
        """Record a figure that must reach `limit`."""
        self._add(Figure(name, value, f">= {limit}", value >= limit))

    def fact(self, name: str, value: object) -> None:
        """Keep something for the JSON file only: signatures, keys, tables."""
        self.facts[name] = value

    def _add(self, figure: Figure) -> None:
        self.figures.append(figure)
        mark = {True: "ok  ", False: "FAIL", None: "    "}[figure.holds]
        # An equality that holds needs no second copy of its value.
        goal = f" (must be {figure.goal})" if figure.holds is False else ""
        limit = f" ({figure.goal})" if figure.holds and not figure.goal.startswith("=") else ""
        print(f"  {mark} {figure.name}: {figure.value}{goal}{limit}", flush=True)

    @property
    def holds(self) -> bool:
        """Whether something was judged, and all that was judged held."""
        judged = [figure.holds for figure in self.figures if figure.holds is not None]
        return bool(judged) and all(judged)

    def write(self, folder: Path) -> Path:
        """Write the report to `folder`/NAME.json (NAME.sabotage.json for a sabotaged run)."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}{'.sabotage' if self.sabotage else ''}.json"
        content = {
            "name": self.name,
            "holds": self.holds,
            "scale": self.scale,
            "seed": self.seed,
            "sabotage": self.fault,
            "figures": [{"name": f.name, "value": f.value, "goal": f.goal, "holds": f.holds} for f in self.figures],
            "facts": self.facts,
        }
        path.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
        return path
