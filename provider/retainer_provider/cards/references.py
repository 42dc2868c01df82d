"""References to cards in any text: `session:<id>`, and `session:<id>:L<line>` to one line of its thread. Pure.

A reference stands for itself: what runs on before or behind it (a word, an address, a file's name) makes it part of
something else, and no reference. Scripts that are written without blanks may touch it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import regex

from retainer_provider.cards.ids import ID_PATTERN

LINE_DIGITS: Final = 9
"""The most that a line's number may have, zeros in front included."""

_SCRIPTS: Final = ("Han", "Hiragana", "Katakana", "Hangul", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar")
# Their words need no blank before or behind what is Latin: Korean's particles, and all scripts without blanks.
_WITHOUT_BLANKS: Final = "".join(rf"\p{{Script_Extensions={name}}}" for name in _SCRIPTS)
# Letters, digits, marks that would change the neighbour, and what joins without being seen.
_WORD: Final = rf"[[\p{{L}}\p{{N}}\p{{M}}_\u200c\u200d\u2060]--[{_WITHOUT_BLANKS}]]"
_ADDRESS: Final = r"[\-.:/\\@#=&%+~?]"
_REFERENCE: Final = regex.compile(
    rf"(?<!{_WORD}|{_ADDRESS})session:(?P<card>{ID_PATTERN})(?::L(?P<line>[0-9]{{1,{LINE_DIGITS}}}))?"
    # Nothing goes on: no word, mark, or path, nor a point or colon with more behind it.
    rf"(?!{_WORD}|[\-/\\@=&%+~#]|[.:?]{_WORD}|\p{{M}})",
    regex.VERSION1,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A card that a text refers to, or a line of it from 1; `start` and `end` are its place, in code points."""

    card: str
    line: int | None
    start: int
    end: int

    def __str__(self) -> str:
        return reference_text(self.card, self.line)


def reference_text(card: str, line: int | None = None) -> str:
    """The one spelling that retainer writes, such as `session:qs-...:L000001`."""
    return f"session:{card}" if line is None else f"session:{card}:L{line:06}"


def references(text: str) -> Iterator[Reference]:
    """The references of a text in order; `L1` and `L000001` are the same line, and there is no line 0."""
    for found in _REFERENCE.finditer(text):
        line = None if found["line"] is None else int(found["line"])
        if line != 0:
            yield Reference(found["card"], line, found.start(), found.end())
