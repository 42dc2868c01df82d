"""Ids, titles and references of cards, for any text there is; `scripts/evidence cards-unicode` runs many more."""

import pytest
from hypothesis import given, settings

from tests.cards_texts import PROPERTIES


@pytest.mark.parametrize("name", PROPERTIES)
def test_holds_for_any_text(name: str) -> None:
    inputs, judge = PROPERTIES[name]
    settings(max_examples=300)(given(inputs)(judge))()
