"""Every bit of an opening's transaction flipped (C44): by a stranger, and by a payer that signs the result."""

from contextlib import suppress
from dataclasses import replace

import pytest

from retainer.protocol.errors import TransactionError
from retainer.protocol.instructions import open_session, open_with_terms
from retainer.protocol.transactions import inspect_open
from tests.unit.protocol.examples import OPEN, OPEN_WITH_TERMS, PAYER, signed

OPENINGS = {"open": open_session(OPEN), "open_with_terms": open_with_terms(OPEN_WITH_TERMS)}
ENVELOPE_LENGTH = 1 + 64


@pytest.mark.parametrize("version", [0, None])
@pytest.mark.parametrize("name", OPENINGS)
def test_a_flipped_bit_breaks_the_signature_or_the_form(name: str, version: int | None) -> None:
    raw = signed([OPENINGS[name]], [PAYER], version=version)
    for at in range(len(raw)):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[at] ^= 1 << bit
            with pytest.raises(TransactionError):
                inspect_open(bytes(flipped))


@pytest.mark.parametrize("version", [0, None])
@pytest.mark.parametrize("name", OPENINGS)
def test_a_flipped_bit_that_the_payer_signed_is_refused_or_read(name: str, version: int | None) -> None:
    """What is read then differs: in a number, in a key that is free to choose, or in the blockhash."""
    raw = signed([OPENINGS[name]], [PAYER], version=version)
    honest = inspect_open(raw)
    assert raw[0] == 1
    for at in range(ENVELOPE_LENGTH, len(raw)):
        for bit in range(8):
            message = bytearray(raw[ENVELOPE_LENGTH:])
            message[at - ENVELOPE_LENGTH] ^= 1 << bit
            signature = bytes(PAYER.sign_message(bytes(message)))
            with suppress(TransactionError):
                read = inspect_open(raw[:1] + signature + bytes(message))
                assert replace(read, signature=honest.signature) != honest
