"""cards-unicode: ids, titles and references of cards, held against rules of their own for any Unicode text."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from retainer_provider.cards import ids, references, titles
from retainer_provider.cards.references import Reference
from tests.cards_texts import PROPERTIES
from tools.evidence.report import Report

EXAMPLES, EXAMPLES_IN_CI = 10_000, 1_500


async def run(report: Report) -> None:
    """Try each property on so many inputs; the counts are those of inputs really judged."""
    if report.sabotage:
        ids.is_card_id = _lenient
        titles.shortened = _cut
        references.references = _anywhere
        report.plant("ids in either case, titles cut by code points, references found inside of words")
    for name in PROPERTIES:
        await asyncio.to_thread(_show, report, name)


def _show(report: Report, name: str) -> None:
    inputs, judge = PROPERTIES[name]
    examples, judged, broken = report.count(EXAMPLES, EXAMPLES_IN_CI), 0, ""

    def count(one: Any) -> None:  # noqa: ANN401 - whatever the property is about
        nonlocal judged
        judged += 1
        judge(one)

    trial = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(inputs)(count))
    try:
        seed(report.seed)(trial)()
    except AssertionError as error:
        broken = (str(error) or "an input breaks it").splitlines()[0][:200]
        report.step(f"{name}: {broken}")
    report.equal(f"{name}: inputs that break the rule", int(bool(broken)), 0)
    if not broken:
        report.at_least(f"{name}: inputs judged", judged, examples)


# The mistakes that are easily made.
def _lenient(text: str) -> bool:
    return re.match(r"^qs-[0-9A-Z]{26}$", text.upper().replace("QS-", "qs-")) is not None


def _cut(text: str) -> str:
    line = titles.one_line(text)
    return line if len(line) <= titles.MAX_GRAPHEMES else line[: titles.MAX_GRAPHEMES - 1] + "…"


def _anywhere(text: str) -> Iterator[Reference]:
    for found in re.finditer(rf"session:({ids.ID_PATTERN})(?::L(\d+))?", text):
        yield Reference(found[1], int(found[2]) if found[2] else None, found.start(), found.end())
