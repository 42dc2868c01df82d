"""Random damage to messages: one to three small changes each, so that most of a message still makes sense."""

import random
from typing import Final

from retainer.protocol.encoding import decode_base64url, encode_base64url

_LETTERS: Final = bytes(range(0x20, 0x7F)) + bytes(range(0xA0, 0x100))
_BYTES: Final = bytes(range(256))
# What parsers are built around: signs of structure, ends of ranges, and texts that mean something elsewhere.
_TELLING: Final = (
    *(b'"', b"{", b"}", b"[", b"]", b":", b",", b"=", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"-1", b"1e9"),
    *(
        b"18446744073709551615",
        b"18446744073709551616",
        b"0x10",
        b"00",
        b"open",
        b"use",
        b"close",
        b"topUp",
        b"Payment ",
    ),
)


def damaged(rng: random.Random, data: bytes, alphabet: bytes = _BYTES) -> bytes:
    """The same with one to three changes, of bytes of ``alphabet``; now and then it comes out as it was."""
    for _ in range(rng.randint(1, 3)):
        data = _change(rng, data, alphabet)
    return data


def damaged_header(rng: random.Random, value: str) -> bytes:
    """A header value with changes that HTTP can carry."""
    return damaged(rng, value.encode("latin-1"), _LETTERS).strip()


def damaged_inside(rng: random.Random, value: str) -> bytes:
    """An ``Authorization`` value whose JSON has changes while its base64url is sound."""
    scheme, _, message = value.partition(" ")
    changed = damaged(rng, decode_base64url(message, "the credential"))
    return f"{scheme} {encode_base64url(changed)}".encode()


def _change(rng: random.Random, data: bytes, alphabet: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    letter, telling = bytes([rng.choice(alphabet)]), _TELLING[rng.randrange(len(_TELLING))]
    # What comes after data[:start], and where the rest goes on.
    inserted, goes_on = rng.choice(
        (
            (letter, start + 1),
            (letter, start),
            (b"", start + 1),
            (telling, start),
            (b"", len(data)),
            (data[start:end] * 2, end),
            (b"", end),
        )
    )
    return data[:start] + inserted + data[goes_on:]
