"""What must hold of cards' ids, titles and references for any text: judged by rules of its own, without `regex`."""

import itertools
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from retainer_provider.cards import ids, references, titles

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID = "qs-01ARZ3NDEKTSV4RRFFQ69G5FAV"
# What looks like, or is elsewhere taken for, a digit of an id; and what breaks out of a path.
NEAR_MISSES = "ILOUilou" + DIGITS.lower() + "０１ＡВЕΟа٠१𝟎𝐀\u00ad\u200b\n\r\t /\\.%\x00-_:"
ADDRESS = "-.:/\\@#=&%+~?_"
WORD_SCRIPTS = ("LATIN ", "GREEK ", "CYRILLIC ", "HEBREW ", "ARABIC LETTER", "DEVANAGARI ", "DIGIT ", "COMBINING ACUTE")
BLANKLESS = ("CJK UNIFIED", "HIRAGANA LETTER", "KATAKANA LETTER", "HANGUL SYLLABLE", "THAI CHARACTER KO")
# Each is one grapheme, and none joins the one before it.
UNITS = (
    *("a", "7", "é", "e\u0301", "z" + "\u0353\u036b\u0343" * 3, "ß", "한", "각", "漢", "が", "नि", "ก็", "ﷺ", "!", "—"),
    *("👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "🇰🇷", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1\ufe0f\u20e3", "❤️", "🧑🏿‍🚀", "🏳️‍🌈"),
)

any_character = st.characters(exclude_categories=["Cs", "Cn", "Co"])
any_text = st.one_of(st.text(), st.text(st.characters(), max_size=400), st.lists(st.sampled_from(UNITS)).map("".join))


def _bent(character: str, place: int, how: str) -> str:
    return {
        "replace": ID[:place] + character + ID[place + 1 :],
        "insert": ID[:place] + character + ID[place:],
        "drop": ID[:place] + ID[place + 1 :],
        "keep": ID,
    }[how]


maybe_ids = st.one_of(
    any_text,
    st.builds(
        _bent,
        st.one_of(st.sampled_from(NEAR_MISSES + DIGITS), st.characters()),
        st.integers(0, len(ID)),
        st.sampled_from(["replace", "insert", "drop", "keep"]),
    ),
    st.text(DIGITS, min_size=26, max_size=26).map("qs-".__add__),
)


def judge_id(text: str) -> None:
    """Valid is what has the prefix and 26 digits of 128 bits, judged digit by digit."""
    rest = text[3:]
    valid = text[:3] == "qs-" and len(rest) == 26 and all(digit in DIGITS for digit in rest) and rest[0] in "01234567"
    assert ids.is_card_id(text) is valid, f"{text!r} is {'a' if valid else 'no'} card's id"
    if valid:
        assert len(text) == ids.LENGTH
        assert text.isascii()
        assert not set(text) & set("/\\.%: \n")


def judge_made(made: tuple[int, bytes, int, bytes]) -> None:
    """Ids that are made are valid, tell apart what is different, and sort by time."""
    first, second = ids.card_id(*made[:2]), ids.card_id(*made[2:])
    assert ids.is_card_id(first)
    assert (first == second) == (made[:2] == made[2:])
    assert (first < second) == ((made[0], made[1]) < (made[2], made[3]))


def judge_count(units: list[str]) -> None:
    """What people take for so many characters counts as so many, and is cut between two of them."""
    line, fitting = "".join(units), len(units) <= titles.MAX_GRAPHEMES
    assert len(titles.graphemes(line)) == len(units)
    assert titles.fits(titles.one_line(line)) is fitting
    kept = line if fitting else "".join(units[: titles.MAX_GRAPHEMES - 1]) + "…"
    assert titles.shortened(line) == unicodedata.normalize("NFC", kept)


def judge_title(text: str) -> None:
    """Whatever comes in, what comes out fits, is one line that can be stored, and the beginning of the text."""
    line, short = titles.one_line(text), titles.shortened(text)
    assert titles.fits(short)
    assert len(titles.graphemes(short)) <= 80
    assert "\n" not in short
    assert "\x00" not in short
    assert short.encode().decode() == short
    assert titles.one_line(short) == short
    if short != line:
        kept = titles.graphemes(short.removesuffix("…"))
        assert kept == titles.graphemes(line)[: len(kept)], "cut inside a grapheme"


def joins(neighbour: str) -> bool | None:
    """Whether a character makes what stands beside it part of itself; None where this judge has no opinion."""
    name, category = unicodedata.name(neighbour, ""), unicodedata.category(neighbour)
    if neighbour in ADDRESS or (name.startswith(WORD_SCRIPTS) and category[0] in "LNM"):
        return True
    alone = category[0] in "ZPS" and "KANA" not in name and neighbour not in "〆〇"
    return False if alone or name.startswith(BLANKLESS) else None


def judge_reference(parts: tuple[str, str, str, str, str]) -> None:
    """A reference stands for itself, wherever it stands, and its line is a number from 1."""
    before, left, written, right, after = parts
    text = f"{before}{left}session:{ID}{written}{right}{after}"
    at, found = len(before + left), list(references.references(text))
    for one in found:
        assert ids.is_card_id(one.card)
        assert one.line is None or one.line >= 1
        assert text[one.start : one.end].startswith(f"session:{one.card}")
        assert one.start == 0 or joins(text[one.start - 1]) is not True, f"{text!r} runs into a reference"
        again = list(references.references(str(one)))
        assert [(other.card, other.line) for other in again] == [(one.card, one.line)]
    assert all(earlier.end <= later.start for earlier, later in itertools.pairwise(found))
    here = [one for one in found if one.start == at]
    # What may follow a reference at the end of a sentence depends on what comes after: only clear cases are claimed.
    clear_right = not right or (joins(right) is False and right not in ".:?" and not unicodedata.combining(right))
    if (not left and not before) or (left and joins(left) is False):
        digits = written.removeprefix(":L")
        number = int(digits) if written.startswith(":L") and digits.isascii() and digits.isdigit() else None
        if clear_right and (right or not after) and written == "":
            assert [one.line for one in here] == [None], f"{text!r} holds a reference"
        elif clear_right and (right or not after) and number is not None and len(digits) <= 9:
            assert [one.line for one in here] == ([number] if number else []), f"{text!r} refers to line {number}"
    longer = bool(written) and right in DIGITS[:10]  # its line has another digit
    if (left and joins(left)) or (right and joins(right) and right not in ".:?" and not longer):
        assert not here, f"{text!r} holds no reference there"


neighbours = st.one_of(
    st.just(""),
    st.sampled_from(ADDRESS + " \n()[]{}<>\"'\uff0c。「」“”…!*|aZ9éжאبक見あア한ก\u0301\u200d👍"),
    any_character,
)
lines_written = st.one_of(
    st.sampled_from(
        ["", "", ":L1", ":L000001", ":L0", ":L000", ":L999999999", ":L1234567890", ":l1", ":L", ":L\uff11", ":L-1"]
    ),
    st.integers(0, 10**9).map(lambda line: f":L{line}"),
)

Judge = Callable[[Any], None]

PROPERTIES: Mapping[str, tuple[SearchStrategy[Any], Judge]] = MappingProxyType(
    {
        "ids that come in": (maybe_ids, judge_id),
        "ids that are made": (
            st.tuples(
                st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10),
                st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10),
            ),
            judge_made,
        ),
        "graphemes counted": (st.lists(st.sampled_from(UNITS), min_size=1, max_size=100), judge_count),
        "titles of any text": (any_text, judge_title),
        "references in any text": (
            st.tuples(any_text, neighbours, lines_written, neighbours, any_text), judge_reference
        ),
    }
)  # fmt: skip
"""Name -> the inputs, and what raises AssertionError for one that breaks the rule."""
