"""Error numbers are part of the interface: this release's IDL has every number that tests name, under the same name."""

import json
import re

from tests.program.harness.errors import FIRST_PROGRAM_ERROR, ProgramError
from tests.program.harness.world import PROGRAM_FILE

RANGES = {"authority and status": 0, "accounts": 50, "amounts": 100, "time": 150, "voucher": 200, "token policy": 250}


def idl_errors() -> dict[str, tuple[int, str]]:
    """Number and message of every error, by its name in the IDL."""
    idl = json.loads(PROGRAM_FILE.with_suffix(".json").read_text())
    return {error["name"]: (error["code"], error["msg"]) for error in idl["errors"]}


def test_the_idl_and_the_tests_name_the_same_numbers() -> None:
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper(): number for name, (number, _) in idl_errors().items()}
    assert named == {error.name: error.value for error in ProgramError}


def test_every_message_is_a_sentence() -> None:
    for name, (_, message) in idl_errors().items():
        assert message.endswith("."), name
        assert len(message.split()) >= 3, name


def test_numbers_lie_in_their_ranges() -> None:
    starts = [FIRST_PROGRAM_ERROR + start for start in RANGES.values()]
    assert {max(start for start in starts if start <= error) for error in ProgramError} == set(starts)
    assert max(ProgramError) < starts[-1] + 50
