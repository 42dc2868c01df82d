"""The compiled encoder is used only where it writes the bytes of RFC 8785's reference."""

from enum import StrEnum

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.encoding import Json, canonical_json
from retainer.protocol.errors import MessageError

# Any text, halves of surrogate pairs included; control characters and names beyond the BMP more often than by chance.
_ANY_TEXT = st.text(st.characters()) | st.text(st.sampled_from('\0\b\t\n\f\r\x1f\x7f"\\/\u2028\ufb33\U0001f600aZ'))
_INTEGERS = st.integers(-JSON_INTEGER_MAX - 2, JSON_INTEGER_MAX + 2) | st.integers()
_LEAVES = st.none() | st.booleans() | _INTEGERS | _ANY_TEXT
_VALUES: st.SearchStrategy[Json] = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_ANY_TEXT, inner, max_size=6), max_leaves=20
)


class Word(StrEnum):
    """A text that is not exactly a `str`."""

    CLOSED = "closed"


@given(st.dictionaries(_ANY_TEXT | st.text(st.characters(max_codepoint=127)), _VALUES, max_size=8))
def test_canonical_json_is_the_references(value: dict[str, Json]) -> None:
    try:
        reference = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):  # the latter for names
        with pytest.raises(MessageError, match="has no canonical JSON"):
            canonical_json(value)
    else:
        assert canonical_json(value) == reference


@pytest.mark.parametrize("value", [{"word": Word.CLOSED}, {Word.CLOSED: 1}, {"pair": ("a", 1)}])
def test_what_only_looks_like_json_is_left_to_the_reference(value: dict[str, Json]) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)
