"""References in messages, by examples that the web panel is held against as well."""

import json
from pathlib import Path
from typing import Any

import pytest

from retainer_provider.cards.references import references

EXAMPLES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "cards_references.json").read_text("utf-8"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: ascii(example["text"]))
def test_a_reference_is_found_where_it_stands_for_itself(example: dict[str, Any]) -> None:
    found = [[one.start, one.end, one.line] for one in references(example["text"])]
    assert found == example["found"]
