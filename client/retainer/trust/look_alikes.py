"""Tokens that call themselves by a well-known one's name: a symbol is anybody's to write, a mint is not."""

# ruff: noqa: RUF001 - letters that look like others are what this is about
import unicodedata
from collections.abc import Iterable
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.tokens import KNOWN_TOKENS

# Letters that look like the ones in well-known names, after case folding: Cyrillic, Greek, Armenian, Lisu, Cherokee.
_CONFUSABLE: Final = str.maketrans(
    {
        **dict.fromkeys("аɑα", "a"),
        **dict.fromkeys("сϲꓚꮯᏟ", "c"),
        **dict.fromkeys("ԁꓓꭰᎠ", "d"),
        **dict.fromkeys("еεꓰꭼᎬ", "e"),
        **dict.fromkeys("іιıꓲ", "i"),
        **dict.fromkeys("ӏꓡꮮᏞ1|", "l"),
        **dict.fromkeys("нոηꓠ", "n"),
        **dict.fromkeys("оοօσꓳ0", "o"),
        **dict.fromkeys("рρꓑꮲᏢ", "p"),
        **dict.fromkeys("гꓣꭱᎡ", "r"),
        **dict.fromkeys("ѕꓢꮪᏚ5$", "s"),
        **dict.fromkeys("тτꓔꭲᎢ", "t"),
        **dict.fromkeys("υսꓴ", "u"),
        **dict.fromkeys("уүγꓬ", "y"),
    }
)
# Shorter ones stand inside honest words, as "sol" in "console".
_SHORTEST_PART: Final = 4


def skeleton(text: str) -> str:
    """What is left to the eye: without marks, case, gaps and alphabets."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return "".join(one for one in plain.casefold().translate(_CONFUSABLE) if one.isalnum())


def imitated(mint: Pubkey, names: Iterable[str]) -> str | None:
    """The symbol of the well-known token that these names are made to look like; None for that token itself."""
    if mint in KNOWN_TOKENS:
        return None
    shapes = [skeleton(name) for name in names]
    for token in KNOWN_TOKENS.values():
        for known in (token.symbol, token.name):
            wanted = skeleton(known)
            if any(wanted in shape if len(wanted) >= _SHORTEST_PART else wanted == shape for shape in shapes):
                return token.symbol
    return None
