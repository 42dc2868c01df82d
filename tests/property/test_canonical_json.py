"""The compiled encoder is used only where it writes the bytes of RFC 8785's reference, and reading goes by the same."""

import json
from enum import StrEnum

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from retainer.protocol import encoding
from retainer.protocol.constants import JSON_INTEGER_MAX
from retainer.protocol.encoding import Json, canonical_json, canonical_text, read_json
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


class Inner(msgspec.Struct, rename="camel", omit_defaults=True):
    """Members in RFC 8785's order, as those of receipts and usage entries are."""

    a_name: str
    count: int
    left_out: str | None = None


class Outer(msgspec.Struct, rename="camel", omit_defaults=True):
    """A struct with another inside."""

    amount: int
    inner: Inner | None
    text: str


@given(
    st.builds(Outer, _INTEGERS, st.none() | st.builds(Inner, _ANY_TEXT, _INTEGERS, st.none() | _ANY_TEXT), _ANY_TEXT)
)
def test_canonical_text_is_the_references(message: Outer) -> None:
    value = msgspec.to_builtins(message)
    try:
        reference = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(MessageError, match="has no canonical JSON"):
            canonical_text(message)
    else:
        assert canonical_text(message) == reference


def test_digits_in_a_text_are_no_integer() -> None:
    message = Outer(1, None, f'":{2**60}')
    assert canonical_text(message) == rfc8785.dumps(msgspec.to_builtins(message))


# Texts as a peer might send them: canonical, otherwise spelled, and with what two readers could read differently.
_FLOATS = st.recursive(
    _LEAVES | st.floats(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ANY_TEXT, inner)
)
_SPELLED = st.builds(
    lambda value, indent, escaped, ordered: json.dumps(
        value, indent=indent, ensure_ascii=escaped, sort_keys=ordered, separators=(",", ":")
    ),
    st.dictionaries(_ANY_TEXT, _FLOATS, max_size=4),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.booleans(),
)
_ODD = st.sampled_from(
    ['{"a":1,"a":1}', '{"a":1.0}', "1e3", "-0", "9007199254740993", '{"a":NaN}', "[" * 5000, "", '"', "[]x"]
)


def outcome(data: bytes) -> object:
    """What reading gives, as text that tells 1 from True; the refusal's own words where it is refused."""
    try:
        return repr(read_json(data, "it"))
    except MessageError as error:
        return error.args


@given(_SPELLED | _ODD)
def test_the_compiled_decoder_reads_what_the_strict_one_reads(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    fast = outcome(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_canonical_value", lambda _: encoding._OTHER)  # noqa: SLF001 - the strict way alone
        assert outcome(data) == fast
