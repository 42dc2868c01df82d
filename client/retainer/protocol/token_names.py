"""What a token calls itself on chain: the metadata extension of Token-2022, and the accounts of Metaplex's program.

Anybody may write these names into a token of their own; nothing about money is decided by them.
"""

from typing import Any, Final

from construct import Bytes, Const, ConstructError, GreedyBytes, Int8ul, Int16ul, Int32ul, Prefixed, Struct
from solders.pubkey import Pubkey

METADATA_PROGRAM_ID: Final = Pubkey.from_string("metaqbxxUerdq28cj1RbAWkYQm3ybzjb6a8bt518x1s")

_TEXT: Final = Prefixed(Int32ul, GreedyBytes)
_NAMES: Final = Struct("update_authority" / Bytes(32), "mint" / Bytes(32), "name" / _TEXT, "symbol" / _TEXT)
_METAPLEX: Final = Struct(Const(4, Int8ul), "names" / _NAMES)  # 4: metadata, among that program's accounts
_METADATA_EXTENSION: Final = 19
# Behind the longer of the base layouts stands the kind of account, then type-length-value entries.
_ENTRIES_OFFSET: Final = 166
_ENTRY: Final = Struct("type" / Int16ul, "value" / Prefixed(Int16ul, GreedyBytes))
_HEADER_BYTES: Final = 4


def derive_metadata(mint: Pubkey) -> Pubkey:
    """Where Metaplex's program keeps a mint's metadata."""
    seeds = [b"metadata", bytes(METADATA_PROGRAM_ID), bytes(mint)]
    return Pubkey.find_program_address(seeds, METADATA_PROGRAM_ID)[0]


def metaplex_names(mint: Pubkey, data: bytes) -> tuple[str, ...]:
    """Name and symbol in an account of Metaplex's program; none where it is not this mint's metadata."""
    return _names(mint, _METAPLEX, data, "names")


def extension_names(mint: Pubkey, data: bytes) -> tuple[str, ...]:
    """Name and symbol in a Token-2022 mint; none where it carries none."""
    entries = data[_ENTRIES_OFFSET:]
    while len(entries) >= _HEADER_BYTES:
        try:
            entry = _ENTRY.parse(entries)
        except ConstructError:
            return ()
        if entry["type"] == _METADATA_EXTENSION:
            return _names(mint, _NAMES, entry["value"])
        entries = entries[_HEADER_BYTES + len(entry["value"]) :]
    return ()


def _names(mint: Pubkey, layout: Any, data: bytes, part: str | None = None) -> tuple[str, ...]:  # noqa: ANN401
    try:
        read = layout.parse(data)
    except ConstructError:
        return ()
    names = read if part is None else read[part]
    if names["mint"] != bytes(mint):
        return ()
    texts = (names[which].decode("utf-8", "replace").strip("\0 ") for which in ("name", "symbol"))
    return tuple(text for text in texts if text)
