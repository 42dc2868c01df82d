"""Accounts that an instruction can do without: the program's own address in a slot stands for none."""

from collections.abc import Callable

import pytest

from retainer.protocol.constants import INSTRUCTIONS_SYSVAR_ID, PROGRAM_ID
from tests.program.harness.calls import Call
from tests.program.harness.cast import Mode, Run
from tests.program.harness.errors import ProgramError
from tests.program.harness.judge import accepted, refused
from tests.program.harness.marks import by_voucher, every_kind
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import TokenProgram


def withdrawable(stage: Stage) -> Call:
    accepted(stage.world, stage.request_close())
    stage.world.warp(seconds=stage.run.grace)
    return stage.withdraw()


MOVING: dict[str, Callable[[Stage], Call]] = {
    "settle": lambda stage: stage.settle(240_000),
    "close": lambda stage: stage.close(240_000),
    "withdraw": withdrawable,
}


@pytest.mark.parametrize("name", MOVING)
@every_kind
def test_the_mint_is_needed_by_token_2022_alone(run: Run, name: str) -> None:
    stage = Stage(run).opened()
    call = MOVING[name](stage)
    if run.token is TokenProgram.TOKEN_2022:
        refused(stage.world, call.with_account("mint", PROGRAM_ID), ProgramError.MINT_MISSING, twin=call)
        return
    assert call.account("mint") == PROGRAM_ID
    another = call.with_account("mint", stage.new_mint("another mint"))
    named = call.with_account("mint", stage.mint)
    refused(stage.world, another, ProgramError.WRONG_MINT, twin=named)


@pytest.mark.parametrize("name", ["settle", "close"])
@by_voucher
def test_a_voucher_is_read_from_nowhere_but_the_instructions_sysvar(run: Run, name: str) -> None:
    stage = Stage(run).opened()
    call = MOVING[name](stage)
    assert call.account("instructions") == INSTRUCTIONS_SYSVAR_ID
    without = call.with_account("instructions", PROGRAM_ID)
    refused(stage.world, without, ProgramError.WRONG_INSTRUCTIONS_SYSVAR, twin=call)


@pytest.mark.parametrize("name", ["settle", "close"])
def test_metered_mode_reads_no_voucher(name: str) -> None:
    stage = Stage(Run(mode=Mode.METERED)).opened()
    call = MOVING[name](stage)
    assert call.account("instructions") == PROGRAM_ID
    accepted(stage.world, call.with_account("instructions", INSTRUCTIONS_SYSVAR_ID))
