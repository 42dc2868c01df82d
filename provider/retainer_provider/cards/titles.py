"""Titles and previews: one line of at most 80 graphemes, which are what people take for characters. Pure.

A grapheme may be many code points (a flag, a family, a letter with its accents), and is never cut inside.
"""

import unicodedata
from typing import Final

import regex

MAX_GRAPHEMES: Final = 80
MAX_BYTES: Final = 4096
"""In UTF-8: one grapheme alone can be of any length, and 80 of the longest emoji take less."""

_GRAPHEME: Final = regex.compile(r"\X")
_BLANKS: Final = regex.compile(r"\s+")
# Controls, halves of surrogate pairs, and what turns the direction of the text that follows a title.
_UNFIT: Final = regex.compile(r"[[\p{Cc}\p{Cs}]--\s]|[\u202a-\u202e\u2066-\u2069]", regex.VERSION1)
_ELLIPSIS: Final = "…"


def graphemes(text: str) -> list[str]:
    """The text in extended grapheme clusters (UAX 29)."""
    return _GRAPHEME.findall(text)


def one_line(text: str) -> str:
    """The text in NFC on one line, without what no title may hold; empty where nothing is left to see."""
    line = _BLANKS.sub(" ", _UNFIT.sub("", unicodedata.normalize("NFC", text))).strip()
    return line if any(character.isprintable() and not character.isspace() for character in line) else ""


def fits(line: str) -> bool:
    """Whether the line is not too long for a title."""
    # A grapheme is at least one byte, so the long ones need not be counted.
    return len(line.encode()) <= MAX_BYTES and len(graphemes(line)) <= MAX_GRAPHEMES


def shortened(text: str) -> str:
    """The text as a line that fits, cut between graphemes, with an ellipsis where it was cut."""
    line = one_line(text)
    # Of more than fits, one code point too many is enough: what is cut inside a grapheme here is not kept.
    line = line[: MAX_BYTES + 1]
    if fits(line):
        return line
    kept, room = "", MAX_BYTES - len(_ELLIPSIS.encode())
    for grapheme in graphemes(line)[: MAX_GRAPHEMES - 1]:
        room -= len(grapheme.encode())
        if room < 0:
            break
        kept += grapheme
    return kept.rstrip() + _ELLIPSIS
