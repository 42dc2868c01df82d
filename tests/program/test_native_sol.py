"""C35: native SOL comes in wrapped; unsynced lamports are the rent payer's, tokens the session's, exactly."""

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from retainer.protocol.constants import OPEN_SLOT_WINDOW
from tests.program.harness.cast import WALLET, Mode, Opening, Run
from tests.program.harness.judge import accepted
from tests.program.harness.marks import row
from tests.program.harness.stage import Stage
from tests.program.harness.token_instructions import sync_native
from tests.program.harness.tokens import NATIVE_MINT, TokenProgram, mint_account, token_account
from tests.program.harness.world import SOL

RESERVE = 2_039_280
KINDS = [Run(mode=mode, opening=opening) for mode in Mode for opening in Opening]
in_sol = pytest.mark.parametrize("run", KINDS, ids=str)


def wrapped(run: Run) -> Stage:
    """A stage whose token is wrapped SOL: each wallet holds WALLET lamports over its rent reserve."""
    stage = Stage(run)
    stage.mint = stage.world.put(NATIVE_MINT, mint_account(TokenProgram.SPL, decimals=9))
    stage.payer_token, stage.payee_token = (wallet(stage, key.pubkey()) for key in (stage.payer, stage.payee))
    return stage


def wallet(stage: Stage, owner: Pubkey) -> Pubkey:
    account = token_account(
        TokenProgram.SPL, NATIVE_MINT, owner, WALLET, native_reserve=RESERVE, lamports=RESERVE + WALLET
    )
    return stage.put_token(f"wrapped {owner}", account)


def donate(stage: Stage, lamports: int, *then: Instruction) -> None:
    gift = transfer(TransferParams(from_pubkey=stage.stranger.pubkey(), to_pubkey=stage.escrow, lamports=lamports))
    stage.world.send([gift, *then], [stage.stranger]).require()


@in_sol
def test_a_session_in_wrapped_sol_pays_lamports_exactly(run: Run) -> None:
    stage = wrapped(run).opened()
    accepted(stage.world, stage.top_up(8_000))
    accepted(stage.world, stage.settle(80_000))
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close(240_000))
    assert stage.gone
    assert stage.lamports(stage.payee_token) == RESERVE + WALLET + 240_000
    assert stage.lamports(stage.payer_token) == RESERVE + WALLET - 240_000
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL


@row(
    "C35",
    "lamports sent to the escrow and synced into its tokens",
    twin="settled as agreed; the payer gets what was synced",
)
@in_sol
def test_synced_lamports_are_dust_of_the_payers(run: Run) -> None:
    stage = wrapped(run).opened()
    donate(stage, 77_777, sync_native(TokenProgram.SPL, stage.escrow))
    assert stage.balance(stage.escrow) == run.deposit + 77_777
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close(240_000))
    assert stage.lamports(stage.payee_token) == RESERVE + WALLET + 240_000
    assert stage.lamports(stage.payer_token) == RESERVE + WALLET - 240_000 + 77_777
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL


@row(
    "C35",
    "lamports sent to the escrow and never synced",
    twin="settled as agreed; the rent payer gets what was not synced",
)
@in_sol
def test_unsynced_lamports_are_the_rent_payers(run: Run) -> None:
    stage = wrapped(run).opened()
    donate(stage, 77_777)
    accepted(stage.world, stage.settle(80_000))
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close(240_000))
    assert stage.gone
    assert stage.lamports(stage.payer_token) == RESERVE + WALLET - 240_000
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL + 77_777


@in_sol
def test_the_whole_deposit_settled_leaves_the_escrow_its_rent(run: Run) -> None:
    stage = wrapped(run).opened()
    accepted(stage.world, stage.settle(run.deposit))
    assert stage.lamports(stage.escrow) >= RESERVE
    stage.world.warp(seconds=run.grace, slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close(run.deposit))
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL
