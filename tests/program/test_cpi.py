"""C29, C30, C43: the escrow called by another program, and other programs' instructions around its own."""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

from solders.account import Account
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account

from retainer.protocol.constants import OPEN_SLOT_WINDOW, PROGRAM_ID, SYSTEM_PROGRAM_ID
from tests.program.harness import token_instructions as token
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Mode, Run
from tests.program.harness.errors import ProgramError, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import every_kind, row, with_terms
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import token_account
from tests.program.harness.world import Durable

RELAY_FILE = Path(__file__).parent / "relay/relay.so"
NOBODY = (255, 0)


def relayed(stage: Stage, call: Call, *, repeat: int = 1, pda: tuple[int, int] = NOBODY) -> Call:
    """The call made by the relay program; `pda` is the account slot that it signs for, with its bump."""
    address = relay_of(stage)
    if stage.world.get(address) is None:
        stage.world.svm.add_program_from_file(address, RELAY_FILE)
    escrow = AccountMeta(PROGRAM_ID, is_signer=False, is_writable=False)
    data = bytes([repeat, *pda]) + call.data
    return replace(call, instruction=Instruction(address, data, [escrow, *call.instruction.accounts]))


def relay_of(stage: Stage) -> Pubkey:
    return stage.world.keypair("relay program").pubkey()


@row("C29", "every instruction called by another program", twin="allowed: the same results as called directly")
@every_kind
def test_another_program_may_call_every_instruction(run: Run) -> None:
    """Multisigs and wallets that are programs need this; the voucher then stands directly before their instruction."""
    direct, through = Stage(run), Stage(run)
    for build in (Stage.open, Stage.top_up, Stage.settle, Stage.request_close, Stage.close):
        accepted(direct.world, build(direct))
        accepted(through.world, relayed(through, build(through)))
        tokens = (direct.payer_token, direct.payee_token, direct.escrow)
        assert [direct.balance(one) for one in tokens] == [through.balance(one) for one in tokens]
    assert direct.world.get(direct.session) == through.world.get(through.session)


@row("C29", "another program calls without the submitter's signature", twin="it passes the signature on")
@every_kind
def test_another_program_lends_no_signature(run: Run) -> None:
    stage = Stage(run).opened()
    honest = relayed(stage, stage.close())
    first = honest.instruction.accounts[1]
    metas = [AccountMeta(first.pubkey, is_signer=False, is_writable=False), *honest.instruction.accounts[2:]]
    unsigned = honest.with_accounts([honest.instruction.accounts[0], *metas])
    refused(stage.world, replace(unsigned, signers=()), Runtime.MISSING_SIGNATURE, twin=honest)


@row("C29", "settle or close called twice within one instruction", twin="settle pays once; close alone lands")
@every_kind
def test_calling_twice_pays_once(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, relayed(stage, stage.settle(240_000), repeat=2))
    assert stage.balance(stage.payee_token) == WALLET + 240_000
    gone = ProgramError.SESSION_CLOSED if run.mode is Mode.VOUCHER else Runtime.ACCOUNT_DATA_TOO_SMALL
    close = stage.close(480_000)
    refused(stage.world, relayed(stage, close, repeat=2), gone, twin=relayed(stage, close))
    assert stage.balance(stage.payee_token) == WALLET + 480_000


@row("C29", "the session handed writable to another program", twin="only the escrow's own calls move its tokens")
@every_kind
def test_nothing_but_the_program_signs_for_a_session(run: Run) -> None:
    stage = Stage(run).opened()
    theft = token.transfer(run.token, stage.escrow, stage.stranger_token, stage.session, 1, signed=False)
    passed = [AccountMeta(meta.pubkey, is_signer=False, is_writable=meta.is_writable) for meta in theft.accounts]
    program = AccountMeta(run.token.id, is_signer=False, is_writable=False)
    honest = relayed(stage, stage.settle())
    through = Instruction(relay_of(stage), bytes([1, *NOBODY]) + bytes(theft.data), [program, *passed])
    attacks = [(replace(honest, instruction=one, before=()), Runtime.MISSING_SIGNATURE) for one in (theft, through)]
    each_refused(stage.world, attacks, twin=honest)


@with_terms
def test_a_payee_that_is_a_program_address_closes_through_its_program(run: Run) -> None:
    """Such a payee is off the curve; its program signs for it, here to close at nothing, which needs no more."""
    stage = Stage(run).opened()
    payee, bump = Pubkey.find_program_address([b"relay"], relay_of(stage))
    opening = stage.open(payee=payee, salt=8)
    accepted(stage.world, opening)
    close = stage.close(0).unsigned("submitter").with_account("submitter", payee)
    close = close.with_account("payee_token", stage.new_wallet(payee))
    for slot in ("session", "escrow"):
        close = close.with_account(slot, opening.account(slot))
    accepted(stage.world, relayed(stage, replace(close, signers=()), pda=(0, bump)))
    assert stage.balance(stage.payer_token) == WALLET - run.deposit


def reowned(stage: Stage) -> Instruction:
    """The payer gives its token account to a stranger."""
    return token.set_owner(stage.run.token, stage.payer_token, stage.payer.pubkey(), stage.stranger.pubkey())


@row("C30", "the payer re-owns its token account before the close in one transaction", twin="after the close")
@every_kind
def test_a_token_account_given_away_gets_no_refund(run: Run) -> None:
    stage = Stage(run).opened()
    close = stage.close()
    attack = close.preceded(reowned(stage)).signed_by(stage.payer)
    refused(stage.world, attack, ProgramError.WRONG_PAYER_TOKEN, twin=close.then(reowned(stage)).signed_by(stage.payer))
    assert stage.balance(stage.payer_token) == WALLET - 240_000


@row(
    "C30",
    "the payer re-owns or closes its token account to hold the provider's pay back",
    twin="settle pays all the same",
)
@every_kind
def test_whatever_the_payer_does_to_its_account_the_payee_is_paid(run: Run) -> None:
    stage = Stage(run).opened()
    settle, close = stage.settle(480_000), stage.close(480_000)
    attack = close.preceded(reowned(stage)).signed_by(stage.payer)
    twin = settle.preceded(reowned(stage)).signed_by(stage.payer)
    refused(stage.world, attack, ProgramError.WRONG_PAYER_TOKEN, twin=twin)
    assert stage.balance(stage.payee_token) == WALLET + 480_000
    accepted(stage.world, stage.request_close())
    stage.world.warp(seconds=run.grace, slots=OPEN_SLOT_WINDOW + 1)
    second = stage.put_token("second", token_account(run.token, stage.mint, stage.payer.pubkey(), 0))
    accepted(stage.world, stage.withdraw(payer_token=second))
    assert stage.balance(second) == run.deposit - 480_000


@row("C30", "the payer's token account closed before the close in one transaction", twin="made again by anyone")
@every_kind
def test_a_closed_token_account_delays_the_refund_only(run: Run) -> None:
    stage = Stage(run).opened()
    empty = token.transfer(
        run.token, stage.payer_token, stage.stranger_token, stage.payer.pubkey(), WALLET - run.deposit
    )
    gone = token.close_account(run.token, stage.payer_token, stage.payer.pubkey())
    create = token.create_ata(run.token, stage.stranger.pubkey(), stage.payer.pubkey(), stage.mint)
    close = stage.close()
    attack = close.preceded(empty, gone).signed_by(stage.payer)
    twin = close.preceded(empty, gone, create).signed_by(stage.payer, stage.stranger)
    refused(stage.world, attack, ProgramError.WRONG_PAYER_TOKEN, twin=twin)
    assert stage.balance(stage.payer_token) == run.deposit - 240_000


@row("C30", "a delegate approved on the payer's account between our instructions", twin="amounts are as without it")
@every_kind
def test_an_approval_in_between_changes_no_amount(run: Run) -> None:
    stage = Stage(run)
    approve = token.approve(run.token, stage.payer_token, stage.payer.pubkey(), stage.stranger.pubkey(), WALLET)
    accepted(stage.world, stage.open().then(approve, stage.top_up(8_000)))
    assert stage.balance(stage.escrow) == run.deposit + 8_000
    accepted(stage.world, stage.close(240_000))
    assert stage.balance(stage.payer_token) == WALLET - 240_000


@row("C30", "the delegate of the payer's tokens opens or tops up with them", twin="the payer does")
@every_kind
def test_a_delegate_is_not_the_payer(run: Run) -> None:
    stage = Stage(run).opened()
    approve = token.approve(run.token, stage.payer_token, stage.payer.pubkey(), stage.stranger.pubkey(), WALLET)
    top_up = stage.top_up()
    as_delegate = top_up.with_account("payer", stage.stranger.pubkey()).signed_by(stage.stranger, stage.payer)
    attack = as_delegate.preceded(approve)
    refused(stage.world, attack, ProgramError.UNAUTHORIZED_PAYER, twin=top_up.preceded(approve))


@row("C43", "an opening signed long ago under a durable nonce", twin="inside the window it lands")
@every_kind
def test_a_durable_opening_dies_with_its_slot(run: Run) -> None:
    stage = Stage(run)
    attack, twin = (durable(stage, stage.open(), name) for name in ("late", "in time"))
    for _ in range(3):
        stage.world.svm.expire_blockhash()
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)

    def a_slot_earlier() -> Call:
        stage.world.set_clock(slot=stage.open_slot + OPEN_SLOT_WINDOW)
        return twin

    refused(stage.world, attack, ProgramError.OPEN_SLOT_OUT_OF_WINDOW, twin=a_slot_earlier)


def durable(stage: Stage, call: Call, name: str) -> Call:
    """The call under a nonce account of the payer's, good for ever."""
    address = stage.world.keypair(name).pubkey()
    nonce = hashlib.sha256(b"DURABLE_NONCE" + name.encode()).digest()
    data = struct.pack("<II32s32sQ", 1, 1, bytes(stage.payer.pubkey()), nonce, 5_000)
    stage.world.put(address, Account(10_000_000, data, SYSTEM_PROGRAM_ID, executable=False, rent_epoch=0))
    advance = advance_nonce_account(
        AdvanceNonceAccountParams(nonce_pubkey=address, authorized_pubkey=stage.payer.pubkey())
    )
    return replace(call.preceded(advance), durable=Durable(Hash(nonce), address))
