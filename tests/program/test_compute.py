"""C37: every instruction stays under its ceiling of compute units, over many keys and at the worst bumps found."""

import statistics
from collections import defaultdict
from dataclasses import replace

import pytest
from solders.instruction import AccountMeta

from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.pda import derive_session, derive_vault
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Opening, Run
from tests.program.harness.judge import accepted
from tests.program.harness.marks import every_kind, row
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import TokenProgram
from tests.program.harness.world import World

SESSIONS = 20
SALTS = 2_000
CEILINGS = {
    TokenProgram.SPL: {
        "open": 25_000,
        "open_with_terms": 9_000,
        "top_up": 2_500,
        "settle": 3_000,
        "close": 5_500,
        "request_close": 1_000,
        "withdraw": 4_000,
    },
    TokenProgram.TOKEN_2022: {
        "open": 30_000,
        "open_with_terms": 12_500,
        "top_up": 4_500,
        "settle": 5_000,
        "close": 11_000,
        "request_close": 1_000,
        "withdraw": 7_500,
    },
}
"""Medians of the openings, whose search for bumps varies; maxima of everything else."""
WITH_BATCH = {"open_with_terms": 8_000, "close": 4_000}
WORST_OPENING = {Opening.STOCK: 50_000, Opening.TERMS: 18_000}


def lives(run: Run) -> dict[str, list[int]]:
    """Compute units of every instruction in many sessions of different people."""
    world = World()
    units: dict[str, list[int]] = defaultdict(list)

    def spend(stage: Stage, call: Call) -> None:
        units[call.name].append(accepted(stage.world, call).units)

    for number in range(SESSIONS):
        closed = Stage(run, world=world, cast=f"closed {number} ")
        spend(closed, closed.open())
        spend(closed, closed.top_up())
        spend(closed, closed.settle())
        spend(closed, closed.close(480_000))
        withdrawn = Stage(run, world=world, cast=f"withdrawn {number} ").opened()
        spend(withdrawn, withdrawn.request_close())
        world.warp(seconds=run.grace)
        spend(withdrawn, withdrawn.withdraw())
    return units


@row("C37", "twenty sessions of different keys, every instruction", twin="all under their ceilings")
@every_kind
def test_every_instruction_stays_under_its_ceiling(run: Run) -> None:
    for name, spent in lives(run).items():
        measured = statistics.median(spent) if name.startswith("open") else max(spent)
        assert measured <= CEILINGS[run.token][name], f"{name}: {measured}"


def test_a_batch_is_cheaper_still() -> None:
    spent = lives(Run(batch=True))
    assert statistics.median(spent["open_with_terms"]) <= WITH_BATCH["open_with_terms"]
    assert max(spent["close"]) <= WITH_BATCH["close"]


@row(
    "C37", "keys ground for the longest search of bumps", twin="the opening lands within a transaction's default budget"
)
@pytest.mark.parametrize("opening", Opening)
@pytest.mark.parametrize("token", TokenProgram)
def test_the_worst_bumps_do_not_exhaust_the_budget(token: TokenProgram, opening: Opening) -> None:
    run = Run(token=token, opening=opening)
    probe = Stage(run)

    def tries(salt: int) -> int:
        session, bump = derive_session(replace(probe.seeds, salt=salt))
        return 255 - bump + (255 - derive_vault(session)[1] if opening is Opening.TERMS else 0)

    worst = max(range(SALTS), key=tries)
    assert tries(worst) > 8
    outcome = accepted(probe.world, Stage(replace(run, salt=worst), world=probe.world).open())
    assert outcome.units <= WORST_OPENING[opening]


@row("C37", "ten accounts more than the instruction takes", twin="they are ignored, at no cost that counts")
@every_kind
def test_further_accounts_are_ignored(run: Run) -> None:
    stage = Stage(run).opened()
    close = stage.close()
    more = [
        AccountMeta(stage.world.keypair(f"extra {n}").pubkey(), is_signer=False, is_writable=True) for n in range(10)
    ]
    outcome = accepted(stage.world, close.with_accounts([*close.instruction.accounts, *more]))
    assert outcome.units <= CEILINGS[run.token]["close"]
    assert stage.balance(stage.payer_token) == WALLET - 240_000


@every_kind
def test_logs_stay_far_below_what_is_cut(run: Run) -> None:
    """The runtime cuts a transaction's logs at 10 kB: five closes in one transaction must keep their events."""
    stage = Stage(run).opened()
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    logs = accepted(stage.world, stage.close()).logs
    assert 5 * sum(len(line) for line in logs) < 10_000
