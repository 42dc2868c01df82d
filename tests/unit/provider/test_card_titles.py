"""The page counts a title as the provider does: both are held to the same table."""

import json
from pathlib import Path

import pytest

from retainer_provider.cards.titles import graphemes, one_line

TABLE = Path(__file__).parents[3] / "provider" / "panel" / "test" / "hub" / "titles.json"


@pytest.mark.parametrize("row", json.loads(TABLE.read_text("utf-8")), ids=lambda row: row["of"])
def test_a_title_is_counted_as_the_page_counts_it(row: dict[str, str | int]) -> None:
    line = one_line(str(row["text"]))
    assert line == row["line"]
    assert len(graphemes(line)) == row["graphemes"]
