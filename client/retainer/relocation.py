"""The released program for another address than the one that it was built for.

A program holds its own address, and refuses to run at any other: once as its 32 bytes, and wherever it compares them as
four instructions that load eight bytes each. It holds one more address, derived from its own, for its events. Those
places, and nothing else, change with the address.
"""

import re
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.pda import derive_event_authority

_LOAD: Final = rb"\x18[\x00-\x0a]\x00\x00"  # lddw into one of eleven registers; its second half begins with zeros
_INSTRUCTION_BYTES: Final = 8


def relocated(code: bytes, address: Pubkey, *, built_for: Pubkey = PROGRAM_ID) -> bytes:
    """`code` with `address` in the place of `built_for`; ValueError where that cannot be done without guessing."""
    if address == built_for:
        return code
    moved = _replaced(code, built_for, address)
    return _replaced(moved, derive_event_authority(built_for), derive_event_authority(address))


def _replaced(code: bytes, old: Pubkey, new: Pubkey) -> bytes:
    code = code.replace(bytes(old), bytes(new))
    sites = set()
    for before, after in zip(_limbs(old), _limbs(new), strict=True):
        pattern = re.compile(b"(%b)%b(\x00{4})%b" % (_LOAD, re.escape(before[:4]), re.escape(before[4:])), re.DOTALL)
        found = [match for match in pattern.finditer(code) if match.start() % _INSTRUCTION_BYTES == 0]
        for match in found:
            code = b"".join((code[: match.start()], match[1], after[:4], match[2], after[4:], code[match.end() :]))
        sites.add(len(found))
    # All four parts at as many places, and none left: anything else would be a program that half believes it moved.
    if len(sites) != 1 or any(half in code for limb in _limbs(old) for half in (limb[:4], limb[4:])):
        raise ValueError(f"these bytes hold the address {old} in a way that cannot be changed: build them anew")
    return code


def _limbs(address: Pubkey) -> list[bytes]:
    raw = bytes(address)
    return [raw[at : at + 8] for at in range(0, len(raw), 8)]
