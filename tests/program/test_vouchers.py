"""C17: only the canonical precompile instruction directly before, over this session's own voucher, authorizes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from solders.compute_budget import set_compute_unit_limit
from solders.instruction import Instruction

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import U64_MAX
from retainer.protocol.vouchers import Voucher, voucher_bytes
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Run
from tests.program.harness.errors import ProgramError
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import by_voucher, metered, row
from tests.program.harness.precompile import Shape
from tests.program.harness.stage import Stage

AMOUNT = 240_000
Paying = Callable[[Stage], Call]
paying = pytest.mark.parametrize("pay", [Stage.settle, Stage.close], ids=["settle", "close"])
"""The two instructions that a voucher authorizes."""


def message(stage: Stage, cumulative: int = AMOUNT, expires_at: int = 0) -> bytes:
    return voucher_bytes(Voucher(stage.session, BaseUnits(cumulative), expires_at))


def shape(stage: Stage, text: bytes | None = None) -> Shape:
    return Shape.signed(stage.voucher_key, message(stage) if text is None else text)


def authorized_by(call: Call, *before: Instruction) -> Call:
    """The call with these instructions, and no others, before it."""
    return replace(call, before=before)


@by_voucher
def test_the_harness_builds_the_kernels_canonical_shape(run: Run) -> None:
    stage = Stage(run).opened()
    assert shape(stage).instruction() == stage.voucher(AMOUNT)
    assert len(bytes(stage.voucher(AMOUNT).data)) == 162


@row("C17", "settle one base unit more than the agent signed", twin="exactly what it signed")
@paying
@by_voucher
def test_the_voucher_is_the_ceiling(run: Run, pay: Paying) -> None:
    stage = Stage(replace(run, price=0)).opened()
    honest = pay(stage)
    refused(stage.world, authorized_by(honest, stage.voucher(AMOUNT - 1)), ProgramError.VOUCHER_TOO_LOW, twin=honest)


@by_voucher
def test_less_than_the_voucher_may_be_settled_and_the_rest_later(run: Run) -> None:
    """A provider that did not charge a breached request settles less than was signed; a voucher serves till used up."""
    stage = Stage(run).opened()
    voucher = stage.voucher(AMOUNT)
    for amount in (80_000, 160_000, AMOUNT):
        accepted(stage.world, stage.settle(amount, authorization=voucher))
    assert stage.balance(stage.payee_token) == WALLET + AMOUNT


@row("C17", "a voucher above the deposit, up to u64::MAX", twin="a voucher over the whole deposit")
@paying
@by_voucher
def test_a_voucher_above_the_deposit_is_refused_whatever_the_amount(run: Run, pay: Paying) -> None:
    stage = Stage(run).opened()
    honest = pay(stage)
    attacks = [
        (authorized_by(honest, stage.voucher(above)), ProgramError.VOUCHER_ABOVE_DEPOSIT)
        for above in (run.deposit + 1, U64_MAX)
    ]
    each_refused(stage.world, attacks, twin=authorized_by(honest, stage.voucher(run.deposit)))


@row("C17", "a voucher of another session, of another key", twin="this session's signer over this session")
@paying
@by_voucher
def test_signer_and_session_are_this_sessions(run: Run, pay: Paying) -> None:
    stage = Stage(run).opened()
    other = Stage(replace(run, salt=8), world=stage.world).opened()
    honest = pay(stage)
    attacks = [
        (authorized_by(honest, stage.voucher(AMOUNT, session=other.session)), ProgramError.VOUCHER_WRONG_SESSION),
        (authorized_by(honest, stage.voucher(AMOUNT, session=stage.escrow)), ProgramError.VOUCHER_WRONG_SESSION),
        *(
            (authorized_by(honest, stage.voucher(AMOUNT, key=key)), ProgramError.VOUCHER_WRONG_SIGNER)
            for key in (stage.operator, stage.payee, stage.payer, stage.stranger)
        ),
    ]
    each_refused(stage.world, attacks, twin=honest)


@row(
    "C17",
    "another magic, another version, another length of the signed message",
    twin="magic 0x56, version 1, 50 bytes",
)
@paying
@by_voucher
def test_the_signed_message_is_a_voucher_of_this_version(run: Run, pay: Paying) -> None:
    stage = Stage(run).opened()
    text = message(stage)
    honest = pay(stage)
    wrong = {
        "magic": b"\x57" + text[1:],
        "version": text[:1] + b"\x02" + text[2:],
        "version 0": text[:1] + b"\x00" + text[2:],
        "short": text[:-1],
        "long": text + b"\x00",
        "empty": b"",
    }
    attacks = [
        (authorized_by(honest, shape(stage, bad).instruction()), ProgramError.VOUCHER_MALFORMED)
        for bad in wrong.values()
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C17", "precompile instructions that verify but are not canonical", twin="the canonical 162 bytes")
@paying
@by_voucher
def test_only_the_canonical_precompile_instruction_counts(run: Run, pay: Paying) -> None:
    stage = Stage(run).opened()
    canonical = shape(stage)
    honest = pay(stage)
    # The precompile instruction is the transaction's first, so index 0 names itself as well as 0xffff does.
    wrong = {
        "no signature": Instruction(canonical.instruction().program_id, b"\x00\x00", []),
        "two signatures": replace(canonical, count=2, second=True).instruction(),
        "padding": replace(canonical, padding=1).instruction(),
        "signature by index": replace(canonical, signature_in=0).instruction(),
        "key by index": replace(canonical, key_in=0).instruction(),
        "message by index": replace(canonical, message_in=0).instruction(),
        "signature first": replace(canonical, order=("signature", "key", "message")).instruction(),
        "message first": replace(canonical, order=("message", "key", "signature")).instruction(),
        "trailing byte": replace(canonical, tail=b"\x00").instruction(),
        "trailing voucher": replace(canonical, tail=canonical.message).instruction(),
    }
    attacks = [(authorized_by(honest, bad), ProgramError.VOUCHER_MALFORMED) for bad in wrong.values()]
    each_refused(stage.world, attacks, twin=honest)


@row(
    "C17", "a forged voucher at the canonical place while the offsets verify a message elsewhere", twin="the signed one"
)
@paying
@by_voucher
def test_what_is_verified_is_what_is_read(run: Run, pay: Paying) -> None:
    """The signature covers a voucher of 8,000, carried at the end or elsewhere; 240,000 stands where it is read."""
    stage = Stage(run).opened()
    low = shape(stage, message(stage, cumulative=8_000))
    forged = replace(low, message=message(stage))
    honest = pay(stage)
    at_the_end = replace(forged, message_at=162, tail=low.message)
    elsewhere = replace(forged, message_at=112, message_in=0)
    attacks = [
        (authorized_by(honest, at_the_end.instruction()), ProgramError.VOUCHER_MALFORMED),
        (authorized_by(honest, low.instruction(), elsewhere.instruction()), ProgramError.VOUCHER_MALFORMED),
    ]
    each_refused(stage.world, attacks, twin=honest)


@paying
@by_voucher
def test_a_forged_signature_does_not_reach_the_program(run: Run, pay: Paying) -> None:
    stage = Stage(run).opened()
    honest = pay(stage)
    flipped = bytes([shape(stage).signature[0] ^ 1]) + shape(stage).signature[1:]
    outcome = stage.world.send(
        authorized_by(honest, replace(shape(stage), signature=flipped).instruction()).instructions, honest.signers
    )
    assert outcome.refusal is not None
    assert outcome.refusal.instruction == 0
    accepted(stage.world, honest)


@row("C17", "the precompile instruction absent, after ours, or not directly before", twin="directly before")
@paying
@by_voucher
def test_the_voucher_stands_directly_before(run: Run, pay: Paying) -> None:
    stage = Stage(run).opened()
    honest = pay(stage)
    voucher, between = stage.voucher(AMOUNT), set_compute_unit_limit(300_000)
    attacks = [
        (authorized_by(honest), ProgramError.VOUCHER_MISSING),
        (authorized_by(honest).then(voucher), ProgramError.VOUCHER_MISSING),
        (authorized_by(honest, voucher, between), ProgramError.VOUCHER_MISSING),
        (authorized_by(honest, between), ProgramError.VOUCHER_MISSING),
    ]
    each_refused(stage.world, attacks, twin=authorized_by(honest, between, voucher))


@row("C18", "two settles share one voucher instruction in a transaction", twin="each has its own")
@by_voucher
def test_a_voucher_instruction_serves_the_one_instruction_after_it(run: Run) -> None:
    stage = Stage(run).opened()
    first, second = stage.settle(80_000), stage.settle(AMOUNT)
    shared = authorized_by(first, stage.voucher(AMOUNT)).then(second.alone())
    twin = authorized_by(first, stage.voucher(80_000)).then(second)
    refused(stage.world, shared, ProgramError.VOUCHER_MISSING, twin=twin)
    assert stage.balance(stage.payee_token) == WALLET + AMOUNT


@row("C17", "a voucher that expired, to the second", twin="one that expires a second from now")
@paying
@by_voucher
def test_a_voucher_is_good_until_just_before_it_expires(run: Run, pay: Paying) -> None:
    stage = Stage(run).opened()
    honest, now = pay(stage), stage.world.now
    attacks = [
        (authorized_by(honest, stage.voucher(AMOUNT, expires_at=when)), ProgramError.VOUCHER_EXPIRED)
        for when in (now, now - 1, 1, -1, -(2**63))
    ]
    each_refused(stage.world, attacks, twin=authorized_by(honest, stage.voucher(AMOUNT, expires_at=now + 1)))


@by_voucher
def test_the_payer_may_sign_its_vouchers_itself(run: Run) -> None:
    """An agent with one key only: it is payer and voucher signer, and still submits nothing."""
    stage = Stage(run)
    stage.voucher_key = stage.payer
    stage.opened()
    attack = stage.settle(by=stage.payer)
    refused(stage.world, attack, ProgramError.UNAUTHORIZED_SUBMITTER, twin=stage.settle())
    assert stage.balance(stage.payee_token) == WALLET + AMOUNT


@row("C17", "a voucher instead of the operator's signature, in metered mode", twin="the operator signs")
@metered
def test_a_voucher_authorizes_nothing_in_metered_mode(run: Run) -> None:
    stage = Stage(run).opened()
    voucher = stage.voucher(AMOUNT, key=stage.operator)
    attack = authorized_by(stage.settle(by=stage.stranger), voucher)
    refused(stage.world, attack, ProgramError.UNAUTHORIZED_SUBMITTER, twin=authorized_by(stage.settle(), voucher))
