"""C05, C08, C28: every ordered pair of accounts of every instruction, aliased and swapped, enumerated.

What lands must be on the list of exceptions, each with its reason, and even then (as on every transaction of this
harness) conserve tokens, lamports and the escrow's cover, and leave the payer its way out.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from types import MappingProxyType

import pytest
from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    CLOCK_SYSVAR_ID,
    COMPUTE_BUDGET_PROGRAM_ID,
    ED25519_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    OPEN_SLOT_WINDOW,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
)
from retainer.protocol.instructions import ACCOUNT_NAMES
from tests.program.harness.calls import Call
from tests.program.harness.cast import EVERY_KIND, WALLET, Opening, Run
from tests.program.harness.judge import accepted
from tests.program.harness.marks import row
from tests.program.harness.stage import Stage

PROGRAMS = (
    TOKEN_PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
    ATA_PROGRAM_ID,
    SYSTEM_PROGRAM_ID,
    PROGRAM_ID,
    ED25519_PROGRAM_ID,
    COMPUTE_BUDGET_PROGRAM_ID,
    RENT_SYSVAR_ID,
    CLOCK_SYSVAR_ID,
    INSTRUCTIONS_SYSVAR_ID,
)
PROGRAM_SLOTS = frozenset(
    {"token_program", "system_program", "ata_program", "this_program", "rent", "event_authority", "instructions"}
)


def opening(stage: Stage) -> Call:
    return stage.open()


def opened(build: Callable[[Stage], Call]) -> Callable[[Stage], Call]:
    def prepare(stage: Stage) -> Call:
        stage.opened()
        return build(stage)

    return prepare


def withdrawable(stage: Stage) -> Call:
    stage.opened()
    accepted(stage.world, stage.request_close())
    stage.world.warp(seconds=stage.run.grace, slots=OPEN_SLOT_WINDOW + 1)
    return stage.withdraw()


READY: Mapping[str, Callable[[Stage], Call]] = MappingProxyType(
    {
        "open": opening,
        "open_with_terms": opening,
        "top_up": opened(Stage.top_up),
        "settle": opened(Stage.settle),
        "close": opened(Stage.close),
        "request_close": opened(Stage.request_close),
        "withdraw": withdrawable,
    }
)
"""Each instruction at a moment when its honest form lands."""
CASES = [
    pytest.param(name, run, id=f"{name}-{run}")
    for name in READY
    for run in EVERY_KIND
    if name not in ("open", "open_with_terms") or (name == "open") == (run.opening is Opening.STOCK)
]
every_instruction = pytest.mark.parametrize(("name", "run"), CASES)


def excused(call: Call, slot: str, address: Pubkey) -> bool:
    """Whether an address may stand in a slot after all.

    - `rent_payer` may be any key that signs and has no role with the payee: the payer, or the agent's voucher key.
    - `operator` is an argument that the payer signs, not an account that is read: any key but the payer's and the rent
      payer's (and none that the instruction writes to). It only decides who may submit; a provider checks that it is
      its own before it serves (C46).
    """
    if call.name in ("open", "open_with_terms") and slot == "rent_payer":
        providers = {call.account(role) for role in ("payee", "operator") if role in call.slots}
        return address in {call.account("payer"), call.account("authorized_signer")} - providers
    if call.name == "open_with_terms" and slot == "operator":
        return address not in {meta.pubkey for meta in call.instruction.accounts if meta.is_writable}
    return False


def substitutions(call: Call) -> Iterator[tuple[str, Call, bool]]:
    """What, the bent call, and whether it may land, for every ordered pair of slots that hold different accounts."""
    for into, source in permutations(call.slots, 2):
        new, old = call.account(source), call.account(into)
        if new == old:
            continue
        yield f"{source} in the place of {into}", call.with_account(into, new), excused(call, into, new)
        if into < source:
            swapped = call.with_account(into, new).with_account(source, old)
            # Operator and rent payer exchange roles: whoever pays the rent signs for it, and still neither has both.
            yield f"{into} and {source} swapped", swapped, {into, source} == {"operator", "rent_payer"}


@row("C05", "every account in the place of every other, and swapped", twin="each in its own place")
@row("C08", "every two accounts aliased", twin="each in its own place")
@every_instruction
def test_no_account_passes_for_another(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    landed = []
    for what, attack, may_land in substitutions(honest):
        if not may_land and lands(stage, attack):
            landed.append(what)
    assert not landed
    accepted(stage.world, honest)


@row("C28", "every known program and sysvar in the place of every other", twin="each in its own place")
@every_instruction
def test_no_program_passes_for_another(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    landed = []
    for slot in PROGRAM_SLOTS.intersection(honest.slots):
        for fake in PROGRAMS:
            if fake != honest.account(slot) and lands(stage, honest.with_account(slot, fake)):
                landed += [(slot, fake)]
    # What metered mode does without may be named all the same: nobody reads it.
    unread = honest.name in ("settle", "close") and honest.account("instructions") == PROGRAM_ID
    assert landed == [("instructions", INSTRUCTIONS_SYSVAR_ID)] * unread
    accepted(stage.world, honest)


@every_instruction
def test_what_is_excused_leaves_the_payer_its_way_out(name: str, run: Run) -> None:
    probe = Stage(run)
    excuses = [what for what, _, may_land in substitutions(READY[name](probe)) if may_land]
    for what in excuses:
        stage = Stage(run)
        excused_call = next(call for label, call, _ in substitutions(READY[name](stage)) if label == what)
        accepted(stage.world, excused_call.signed_by(*stage.world.keyring.values()))
        accepted(stage.world, stage.request_close())
        stage.world.warp(seconds=run.grace)
        accepted(stage.world, stage.withdraw())
        assert stage.balance(stage.payer_token) == WALLET
    assert bool(excuses) == (name in ("open", "open_with_terms"))


@row("C08", "a slot's account handed over without the right to write to it", twin="writable as the slot demands")
@every_instruction
def test_every_writable_account_must_be_writable(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    writable = [slot for slot, meta in zip(honest.slots, honest.instruction.accounts, strict=True) if meta.is_writable]
    landed = [slot for slot in writable if lands(stage, honest.readonly(slot))]
    assert not landed
    accepted(stage.world, honest)


@every_instruction
def test_an_instruction_with_an_account_too_few_is_refused(name: str, run: Run) -> None:
    stage = Stage(run)
    honest = READY[name](stage)
    metas = honest.instruction.accounts
    for count in range(len(metas)):
        fewer = honest.with_accounts(metas[:count])
        assert not stage.world.simulate(fewer.instructions, fewer.signers).landed
    accepted(stage.world, honest)


def lands(stage: Stage, attack: Call) -> bool:
    """Whether the call would land if every key that exists signed what is asked of it."""
    keys = stage.world.keyring
    for slot, meta in zip(attack.slots, attack.instruction.accounts, strict=True):
        if meta.is_signer and meta.pubkey not in keys:
            attack = attack.unsigned(slot)
    return stage.world.simulate(attack.instructions, tuple(keys.values())).landed


def test_every_instruction_and_kind_is_enumerated() -> None:
    assert set(READY) == set(ACCOUNT_NAMES)
    assert len(CASES) == 5 * len(EVERY_KIND) + len(EVERY_KIND)
