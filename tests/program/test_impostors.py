"""C03, C04, C09: accounts that look like a session and are none."""

import hashlib

import pytest
from solders.account import Account
from solders.pubkey import Pubkey

from retainer.protocol.constants import PROGRAM_ID, SYSTEM_PROGRAM_ID
from retainer.protocol.layouts import SESSION_LEN
from retainer.protocol.pda import derive_ata
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Opening, Run
from tests.program.harness.errors import ProgramError, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import every_kind, row
from tests.program.harness.stage import Stage


def every_call(stage: Stage) -> list[Call]:
    """Every instruction on an open session; the withdrawal is due already."""
    stage.world.warp(seconds=stage.run.grace)
    return [stage.settle(), stage.close(), stage.withdraw(), stage.top_up(), stage.request_close()]


@row("C03", "a byte-identical session that another program owns", twin="the real one")
@every_kind
def test_a_copy_under_another_owner_is_no_session(run: Run) -> None:
    stage = Stage(run).opened()
    real = stage.world.get(stage.session)
    assert real is not None
    attacks = []
    for owner in (SYSTEM_PROGRAM_ID, run.token.id, stage.stranger.pubkey()):
        copy = stage.world.keypair(f"copy owned by {owner}").pubkey()
        stage.world.put(copy, Account(real.lamports, real.data, owner, executable=False, rent_epoch=0))
        attacks += [(call.with_account("session", copy), Runtime.ILLEGAL_OWNER) for call in every_call(stage)]
    each_refused(stage.world, attacks, twin=stage.settle())


@row("C03", "the session's own account, handed to another program", twin="given back")
@every_kind
def test_the_owner_is_read_at_the_real_address_too(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.settle()
    stage.world.edit(stage.session, owner=run.token.id)

    def given_back() -> Call:
        stage.world.edit(stage.session, owner=PROGRAM_ID)
        return honest

    refused(stage.world, honest, Runtime.ILLEGAL_OWNER, twin=given_back)


@row("C04", "an account of ours with another discriminator, no content, or another length", twin="a session")
@every_kind
def test_an_account_of_ours_that_is_no_session_is_refused(run: Run) -> None:
    stage = Stage(run).opened()
    real = stage.world.get(stage.session)
    assert real is not None
    event = hashlib.sha256(b"event:Session").digest()[:8]
    wrong = {
        "other discriminator": (event + real.data[8:], Runtime.INVALID_ACCOUNT_DATA),
        "zero discriminator": (bytes(8) + real.data[8:], Runtime.INVALID_ACCOUNT_DATA),
        "all zero": (bytes(SESSION_LEN), Runtime.INVALID_ACCOUNT_DATA),
        "discriminator only": (real.data[:8], Runtime.ACCOUNT_DATA_TOO_SMALL),
        "one byte short": (real.data[:-1], Runtime.ACCOUNT_DATA_TOO_SMALL),
        "empty": (b"", Runtime.ACCOUNT_DATA_TOO_SMALL),
    }
    attacks = []
    for name, (data, why) in wrong.items():
        address = stage.world.keypair(name).pubkey()
        stage.world.put(address, Account(real.lamports, data, PROGRAM_ID, executable=False, rent_epoch=0))
        attacks += [(call.with_account("session", address), why) for call in every_call(stage)]
    each_refused(stage.world, attacks, twin=stage.settle())


@row("C04", "a session that another release wrote", twin="one of this version")
@pytest.mark.parametrize("version", [0, 2, 255])
@every_kind
def test_another_version_of_a_session_is_refused_by_name(run: Run, version: int) -> None:
    stage = Stage(run).opened()
    real = stage.world.get(stage.session)
    assert real is not None
    calls = every_call(stage)

    def this_version() -> Call:
        stage.world.edit(stage.session, data=real.data)
        return stage.settle()

    stage.world.edit(stage.session, data=real.data[:8] + bytes([version]) + real.data[9:])
    each_refused(stage.world, [(call, ProgramError.UNSUPPORTED_VERSION) for call in calls], twin=this_version)


@every_kind
def test_a_session_whose_fields_contradict_each_other_goes_nowhere(run: Run) -> None:
    """No instruction leaves such a session behind; if one did, it would stop there."""
    stage = Stage(run).opened()
    real = stage.world.get(stage.session)
    assert real is not None
    settle, top_up = stage.settle(), stage.top_up()
    stage.world.edit(stage.session, data=real.data[:10] + b"\x07" + real.data[11:])

    def consistent() -> Call:
        stage.world.edit(stage.session, data=real.data)
        return settle

    refused(stage.world, settle, ProgramError.INVARIANT_BROKEN, twin=consistent)
    started = (1).to_bytes(8, "little")
    stage.world.edit(stage.session, data=real.data[:296] + started + real.data[304:])

    def open_again() -> Call:
        settled = (240_000).to_bytes(8, "little") + stage.units(240_000).to_bytes(8, "little")
        stage.world.edit(stage.session, data=real.data[:264] + settled + real.data[280:])
        return top_up

    refused(stage.world, top_up, ProgramError.INVARIANT_BROKEN, twin=open_again)


@row("C13", "the escrow re-owned, or short of what it owes, as no token program would leave it", twin="as it was left")
@every_kind
def test_an_escrow_that_is_not_as_it_was_left_pays_nobody(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    real = stage.world.get(stage.escrow)
    assert real is not None
    calls = (stage.settle(), stage.close())
    stranger = bytes(stage.stranger.pubkey())

    def as_it_was() -> Call:
        stage.world.edit(stage.escrow, data=real.data)
        return stage.settle(0)

    for data, why, which in (
        (real.data[:32] + stranger + real.data[64:], ProgramError.ESCROW_TAMPERED, calls),
        (real.data[:64] + bytes(8) + real.data[72:], ProgramError.ESCROW_SHORT, calls),
        (
            real.data[:64] + (run.deposit - 1).to_bytes(8, "little") + real.data[72:],
            ProgramError.ESCROW_SHORT,
            calls[1:],
        ),
    ):
        stage.world.edit(stage.escrow, data=data)
        each_refused(stage.world, [(call, why) for call in which], twin=as_it_was)


@row("C09", "open at the session address of a bump that is not the canonical one", twin="at the canonical one")
@every_kind
def test_only_the_canonical_bump_opens_a_session(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    seeds = stage.seeds
    parts = [b"channel", *(bytes(key) for key in (seeds.payer, seeds.payee, seeds.mint, seeds.authorized_signer))]
    parts += [seeds.salt.to_bytes(8, "little"), seeds.open_slot.to_bytes(8, "little")]
    others = [address for address in addresses_of(parts) if address != stage.session]
    assert len(others) > 50
    attacks = []
    for session in others[:3]:
        attack = honest.with_account("session", session)
        if run.opening is Opening.TERMS:
            vault, _ = Pubkey.find_program_address([b"vault", bytes(session)], PROGRAM_ID)
            attack = attack.with_account("escrow", vault)
        else:
            attack = attack.with_account("escrow", derive_ata(session, stage.mint, run.token.id))
        attacks.append((attack, Runtime.INVALID_SEEDS))
    each_refused(stage.world, attacks, twin=honest)


@row("C09", "open with the vault of a bump that is not the canonical one", twin="with the canonical one")
@every_kind
def test_only_the_canonical_vault_holds_a_deposit(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    program, parts = (PROGRAM_ID, [b"vault", bytes(stage.session)])
    others = [address for address in addresses_of(parts, program) if address != stage.escrow]
    attacks = [(honest.with_account("escrow", vault), Runtime.INVALID_SEEDS) for vault in others[:3]]
    each_refused(stage.world, attacks, twin=honest)
    assert stage.balance(stage.payer_token) == WALLET - run.deposit


def addresses_of(seeds: list[bytes], program: Pubkey = PROGRAM_ID) -> list[Pubkey]:
    """The addresses that these seeds give with any bump."""
    found = []
    for bump in range(256):
        try:
            found.append(Pubkey.create_program_address([*seeds, bytes([bump])], program))
        except Exception:  # noqa: BLE001 - solders panics for a point on the curve
            continue
    return found
