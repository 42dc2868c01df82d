"""The judge itself finds an attack that lands, another reason, a twin that is refused, and sums that do not add up."""

from collections.abc import Callable

import pytest
from solders.account import Account

from tests.program.harness.calls import Call
from tests.program.harness.cast import Run
from tests.program.harness.conservation import Accounts, check_conservation
from tests.program.harness.errors import ProgramError
from tests.program.harness.judge import each_refused, let_through, refused
from tests.program.harness.stage import Stage

WHY = ProgramError.AMOUNT_ABOVE_DEPOSIT


@pytest.fixture
def stage() -> Stage:
    return Stage(Run(price=0)).opened()


def above(stage: Stage) -> Call:
    return stage.settle(stage.run.deposit + 1, units=1)


def test_an_attack_that_lands_is_found(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="was let through"):
        refused(stage.world, stage.settle(8_000), WHY, twin=stage.settle(16_000))


def test_a_refusal_by_another_name_is_found(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="refused with"):
        refused(stage.world, above(stage), ProgramError.PRICE_MISMATCH, twin=stage.settle())


def test_a_twin_that_is_refused_is_found(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="refused: "):
        refused(stage.world, above(stage), WHY, twin=above(stage))


def test_no_attack_at_all_is_found(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="no attack"):
        each_refused(stage.world, [], twin=stage.settle())


def test_the_planted_fault_is_found(stage: Stage) -> None:
    token = let_through.set(True)
    try:
        with pytest.raises(AssertionError, match="was let through"):
            refused(stage.world, above(stage), WHY, twin=stage.settle())
    finally:
        let_through.reset(token)


def more_lamports(account: Account) -> Account:
    return Account(account.lamports + 1, account.data, account.owner, executable=False, rent_epoch=0)


def more_tokens(account: Account) -> Account:
    amount = int.from_bytes(account.data[64:72], "little") + 1
    data = account.data[:64] + amount.to_bytes(8, "little") + account.data[72:]
    return Account(account.lamports, data, account.owner, executable=False, rent_epoch=0)


def one_bit(account: Account) -> Account:
    data = account.data[:-1] + bytes([account.data[-1] ^ 1])
    return Account(account.lamports, data, account.owner, executable=False, rent_epoch=0)


@pytest.mark.parametrize(
    ("forge", "failed", "message"),
    [
        (more_lamports, False, "lamports were made or lost"),
        (more_tokens, False, "tokens were made or lost"),
        (more_lamports, True, "a refused transaction changed"),
        (one_bit, True, "a refused transaction changed"),
    ],
)
def test_sums_that_do_not_add_up_are_found(
    stage: Stage, forge: Callable[[Account], Account], *, failed: bool, message: str
) -> None:
    before: Accounts = stage.world.snapshot()
    escrow = before[stage.escrow]
    assert escrow is not None
    after = {**before, stage.escrow: forge(escrow)}
    with pytest.raises(AssertionError, match=message):
        check_conservation(before, after, fee_payer=stage.world.fees.pubkey(), fee=0, failed=failed)


def test_an_escrow_that_does_not_cover_its_session_is_found(stage: Stage) -> None:
    before: Accounts = stage.world.snapshot()
    escrow, wallet = before[stage.escrow], before[stage.stranger_token]
    assert escrow is not None
    assert wallet is not None
    data = escrow.data[:64] + (stage.run.deposit - 1).to_bytes(8, "little") + escrow.data[72:]
    short = Account(escrow.lamports, data, escrow.owner, executable=False, rent_epoch=0)
    after = {**before, stage.escrow: short, stage.stranger_token: more_tokens(wallet)}
    with pytest.raises(AssertionError, match="not covered by its escrow"):
        check_conservation(before, after, fee_payer=stage.world.fees.pubkey(), fee=0, failed=False)
