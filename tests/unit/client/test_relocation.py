"""The program for another address: changed where the address stands, and nowhere else."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.constants import PROGRAM_ID
from retainer.release import program_bytes, program_hash
from retainer.relocation import relocated

CODE = program_bytes()


def test_it_changes_whole_addresses_only_and_back_again_it_is_the_same() -> None:
    address = Keypair().pubkey()
    moved = program_bytes(address)
    assert relocated(moved, PROGRAM_ID, built_for=address) == CODE
    changed = [at for at, (old, new) in enumerate(zip(CODE, moved, strict=True)) if old != new]
    places = (CODE.count(bytes(PROGRAM_ID)[:4]), len(changed))
    assert places[0] > 1
    assert places[1] <= places[0] * len(bytes(PROGRAM_ID))
    assert bytes(PROGRAM_ID) not in moved
    assert program_hash(address) != program_hash()


def test_the_usual_address_changes_nothing() -> None:
    assert program_bytes(PROGRAM_ID) == CODE


@pytest.mark.parametrize("stray", [bytes(PROGRAM_ID)[:8], bytes(PROGRAM_ID)[12:16]])
def test_bytes_that_would_have_to_be_guessed_at_are_refused(stray: bytes) -> None:
    with pytest.raises(ValueError, match="build them anew"):
        relocated(CODE + stray, Pubkey.new_unique())
