"""C12 to C15: what strangers send to a session's addresses, before it exists or later, hinders and changes nothing."""

from dataclasses import replace

import pytest
from solders.account import Account
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from retainer.protocol.constants import OPEN_SLOT_WINDOW, SYSTEM_PROGRAM_ID
from retainer.protocol.instructions import create_ata_idempotent
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Opening, Run
from tests.program.harness.errors import Foreign, ProgramError, Reason, Runtime
from tests.program.harness.judge import accepted, refused
from tests.program.harness.marks import every_kind, row, stock, with_terms
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import AccountState, TokenProgram, read_balance, token_account
from tests.program.harness.world import SOL

DUST = 12_345


def give_lamports(stage: Stage, address: Pubkey, lamports: int) -> None:
    """A stranger's ordinary transfer."""
    gift = transfer(TransferParams(from_pubkey=stage.stranger.pubkey(), to_pubkey=address, lamports=lamports))
    stage.world.send([gift], [stage.stranger]).require()


def give_tokens(stage: Stage, address: Pubkey, amount: int) -> None:
    """A stranger's tokens, as they lie there after a transfer."""
    account = stage.world.get(address)
    assert account is not None
    balance = read_balance(account)
    assert balance is not None
    data = account.data[:64] + (balance.amount + amount).to_bytes(8, "little") + account.data[72:]
    stage.world.edit(address, data=data)


@row("C12", "lamports sent to session and escrow before they exist", twin="the opening lands as without them")
@pytest.mark.parametrize("lamports", [1_000_000, 2_039_280, 50_000_000])
@every_kind
def test_lamports_sent_beforehand_do_not_block_the_opening(run: Run, lamports: int) -> None:
    """The least that a stranger can send is what keeps an empty account rent-exempt; the runtime refuses less."""
    plain = Stage(run).opened()
    stage = Stage(run)
    for address in (stage.session, stage.escrow):
        give_lamports(stage, address, lamports)
    accepted(stage.world, stage.open())
    assert stage.account == plain.account
    assert stage.balance(stage.escrow) == run.deposit
    exempt = plain.lamports(plain.session), plain.lamports(plain.escrow)
    assert stage.lamports(stage.session) == max(exempt[0], lamports)
    assert stage.lamports(stage.escrow) == max(exempt[1], lamports)

    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close())
    assert stage.gone
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL + 2 * lamports


@row("C12", "a single lamport, by whatever means", twin="the opening lands as without it")
@every_kind
def test_even_a_single_lamport_does_not_block_the_opening(run: Run) -> None:
    stage = Stage(run)
    for address in (stage.session, stage.escrow):
        stage.world.put(address, Account(1, b"", SYSTEM_PROGRAM_ID, executable=False, rent_epoch=0))
    accepted(stage.world, stage.open())
    assert stage.balance(stage.escrow) == run.deposit


@row(
    "C15",
    "lamports donated to session and escrow mid-session",
    twin="settle, top-up and close land, the rent payer gets them",
)
@every_kind
def test_lamports_donated_later_go_to_the_rent_payer(run: Run) -> None:
    stage = Stage(run).opened()
    for address in (stage.session, stage.escrow):
        give_lamports(stage, address, SOL // 2)
    accepted(stage.world, stage.top_up(8_000))
    accepted(stage.world, stage.settle(80_000))
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close(240_000))
    assert stage.gone
    assert stage.lamports(stage.sponsor.pubkey()) == 11 * SOL
    assert stage.balance(stage.payer_token) == WALLET - 240_000


@row(
    "C14",
    "tokens sent to the escrow mid-session",
    twin="everything lands, the deposit is as before, the payer gets them",
)
@pytest.mark.parametrize("dust", [1, DUST, 2**40])
@every_kind
def test_dust_changes_no_deposit_and_goes_to_the_payer(run: Run, dust: int) -> None:
    stage = Stage(run).opened()
    give_tokens(stage, stage.escrow, dust)
    accepted(stage.world, stage.settle(80_000))
    assert stage.account.deposit == run.deposit
    accepted(stage.world, stage.top_up(8_000))
    give_tokens(stage, stage.escrow, dust)
    accepted(stage.world, stage.close(240_000))
    assert stage.balance(stage.payee_token) == WALLET + 240_000
    assert stage.balance(stage.payer_token) == WALLET - 240_000 + 2 * dust


@row("C14", "settle out of dust: more than the deposit, less than the escrow holds", twin="settle the deposit")
@every_kind
def test_dust_is_never_settled(run: Run) -> None:
    stage = Stage(run).opened()
    give_tokens(stage, stage.escrow, 80_000)
    above = run.deposit + 8_000
    authorization = None if not stage.settle().before else stage.voucher(run.deposit)
    attack = stage.settle(above, authorization=authorization)
    refused(stage.world, attack, ProgramError.AMOUNT_ABOVE_DEPOSIT, twin=stage.settle(run.deposit))
    assert stage.balance(stage.escrow) == 80_000


@every_kind
def test_dust_is_withdrawn_with_the_rest(run: Run) -> None:
    stage = Stage(run).opened()
    give_tokens(stage, stage.escrow, DUST)
    accepted(stage.world, stage.request_close())
    stage.world.warp(seconds=run.grace)
    accepted(stage.world, stage.withdraw())
    assert stage.balance(stage.payer_token) == WALLET + DUST


@pytest.mark.parametrize("token", TokenProgram)
@pytest.mark.parametrize("batch", [False, True])
def test_dust_alone_is_refunded_when_the_whole_deposit_was_settled(token: TokenProgram, *, batch: bool) -> None:
    stage = Stage(Run(token=token, batch=batch)).opened()
    give_tokens(stage, stage.escrow, DUST)
    accepted(stage.world, stage.close(stage.run.deposit))
    assert stage.balance(stage.payer_token) == WALLET - stage.run.deposit + DUST
    assert stage.gone


@row(
    "C13",
    "the escrow's associated token account created beforehand, with dust in it",
    twin="the opening lands, the dust is uncredited",
)
@stock
def test_an_escrow_that_a_stranger_created_serves(run: Run) -> None:
    stage = Stage(run)
    create = create_ata_idempotent(
        funder=stage.stranger.pubkey(), owner=stage.session, mint=stage.mint, token_program=run.token.id
    )
    stage.world.send([create], [stage.stranger]).require()
    rent = stage.lamports(stage.escrow)
    give_tokens(stage, stage.escrow, DUST)
    accepted(stage.world, stage.open())
    assert stage.account.deposit == run.deposit
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close())
    assert stage.balance(stage.payer_token) == WALLET - 240_000 + DUST
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL + rent


TAMPERED: dict[str, Reason] = {
    "delegate": ProgramError.ESCROW_TAMPERED,
    "close authority": ProgramError.ESCROW_TAMPERED,
    "frozen": ProgramError.TOKEN_ACCOUNT_FROZEN,
    "other mint": Runtime.INVALID_ACCOUNT_DATA,
    "other owner": Foreign.ATA_INVALID_OWNER,
}


@row(
    "C13", "the escrow's address holds an account with delegate, close authority, or another state", twin="a clean one"
)
@pytest.mark.parametrize("how", TAMPERED)
@stock
def test_an_escrow_that_is_not_solely_the_sessions_is_refused(run: Run, how: str) -> None:
    stage = Stage(run)
    thief, token, clean = stage.stranger.pubkey(), run.token, token_account
    bad = {
        "delegate": clean(token, stage.mint, stage.session, 0, delegate=thief, delegated=2**60),
        "close authority": clean(token, stage.mint, stage.session, 0, close_authority=thief),
        "frozen": clean(token, stage.mint, stage.session, 0, state=AccountState.FROZEN),
        "other mint": clean(token, stage.new_mint("other mint"), stage.session, 0),
        "other owner": clean(token, stage.mint, thief, 0),
    }[how]
    stage.world.put(stage.escrow, bad)
    honest = stage.open()

    def cleaned() -> Call:
        stage.world.put(stage.escrow, token_account(token, stage.mint, stage.session, 0))
        return honest

    refused(stage.world, honest, TAMPERED[how], twin=cleaned)


@row("C13", "the vault's address holds a token account already", twin="an empty address")
@with_terms
def test_a_vault_is_made_by_its_opening_or_not_at_all(run: Run) -> None:
    stage = Stage(run)
    stage.world.put(stage.escrow, token_account(run.token, stage.mint, stage.session, 0))
    other = Stage(replace(run, salt=8), world=stage.world)
    refused(stage.world, stage.open(), Foreign.SYSTEM_ACCOUNT_IN_USE, twin=other.open())
    assert other.run.opening is Opening.TERMS
