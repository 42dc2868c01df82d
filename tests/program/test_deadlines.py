"""Deadlines to the second: who may move money at t-1, t and t+1, and how long a payer's money can be locked."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from retainer.protocol.constants import MAX_EXPIRY_AHEAD, MAX_GRACE_PERIOD, OPEN_SLOT_WINDOW
from tests.program.harness.calls import Call
from tests.program.harness.cast import EVERY_KIND, WALLET, WITH_TERMS, Run
from tests.program.harness.errors import ProgramError
from tests.program.harness.judge import accepted, refused
from tests.program.harness.marks import every_kind, row, with_terms
from tests.program.harness.stage import Stage

Raising = Callable[[Stage], Call]
raising = pytest.mark.parametrize("pay", [Stage.settle, Stage.close], ids=["settle", "close"])


def at(stage: Stage, moment: int, build: Callable[[], Call]) -> Callable[[], Call]:
    """Moves the clock to a moment, then builds the call."""

    def prepare() -> Call:
        stage.world.set_clock(now=moment)
        return build()

    return prepare


def closure_requested(run: Run) -> Stage:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    return stage


def deadline_of(stage: Stage) -> int:
    deadline = stage.account.deadline()
    assert deadline is not None
    return deadline


SOURCES = {
    "closure": (closure_requested, EVERY_KIND),
    "expiry": (lambda run: Stage(run).opened(), WITH_TERMS),
}
"""What can set a deadline, on the kinds of session that have it."""
every_deadline = pytest.mark.parametrize(
    ("prepare", "run"),
    [pytest.param(prepare, run, id=f"{name}-{run}") for name, (prepare, runs) in SOURCES.items() for run in runs],
)
Prepare = Callable[[Run], Stage]


@row("C21", "withdraw one second before the deadline", twin="at the deadline")
@every_deadline
def test_nobody_withdraws_before_the_deadline(prepare: Prepare, run: Run) -> None:
    stage = prepare(run)
    deadline = deadline_of(stage)
    stage.world.set_clock(now=deadline - 1)
    refused(stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=at(stage, deadline, stage.withdraw))
    assert stage.balance(stage.payer_token) == WALLET


@every_deadline
def test_anybody_withdraws_after_the_deadline(prepare: Prepare, run: Run) -> None:
    stage = prepare(run)
    stage.world.set_clock(now=deadline_of(stage) + 1)
    accepted(stage.world, stage.withdraw())
    assert stage.balance(stage.payer_token) == WALLET


@row("C22", "raise what is settled at the deadline, when the payer may withdraw", twin="one second before")
@raising
@every_deadline
def test_nothing_is_raised_from_the_deadline_on(prepare: Prepare, run: Run, pay: Raising) -> None:
    stage = prepare(run)
    deadline = deadline_of(stage)
    stage.world.set_clock(now=deadline + 1)
    refused(stage.world, pay(stage), ProgramError.DEADLINE_PASSED, twin=lambda: stage.settle(0))
    stage.world.set_clock(now=deadline)
    twin = at(stage, deadline - 1, lambda: pay(stage))
    refused(stage.world, pay(stage), ProgramError.DEADLINE_PASSED, twin=twin)
    assert stage.balance(stage.payee_token) == WALLET + 240_000


@row("C22", "close and withdraw in one transaction, in either order, before the deadline", twin="close alone")
@every_deadline
def test_before_the_deadline_the_close_wins(prepare: Prepare, run: Run) -> None:
    stage = prepare(run)
    stage.world.set_clock(now=deadline_of(stage) - 1)
    attack = stage.withdraw().then(stage.close())
    refused(stage.world, attack, ProgramError.DEADLINE_NOT_REACHED, twin=stage.close())
    assert stage.balance(stage.payer_token) == WALLET - 240_000


@row(
    "C22",
    "close above what was settled, before the withdrawal in one transaction at the deadline",
    twin="withdraw alone",
)
@every_deadline
def test_from_the_deadline_the_withdrawal_wins(prepare: Prepare, run: Run) -> None:
    stage = prepare(run)
    stage.world.set_clock(now=deadline_of(stage))
    attack = stage.close().then(stage.withdraw())
    refused(stage.world, attack, ProgramError.DEADLINE_PASSED, twin=stage.withdraw())
    assert stage.balance(stage.payer_token) == WALLET


@every_deadline
def test_closing_at_what_was_settled_has_no_deadline(prepare: Prepare, run: Run) -> None:
    stage = prepare(run)
    stage.world.set_clock(now=deadline_of(stage) + 365 * 86_400)
    accepted(stage.world, stage.close(0))
    assert stage.balance(stage.payer_token) == WALLET


@row(
    "C24",
    "the payer races a withdrawal against the provider's settlement",
    twin="it asks to close, the provider still settles",
)
@every_kind
def test_the_payer_can_only_ask_to_close(run: Run) -> None:
    stage = Stage(run).opened()
    attack = stage.request_close().then(stage.withdraw())
    refused(stage.world, attack, ProgramError.DEADLINE_NOT_REACHED, twin=stage.request_close())
    stage.world.warp(seconds=run.grace - 1)
    accepted(stage.world, stage.close())
    assert stage.balance(stage.payee_token) == WALLET + 240_000


@row("C27", "the provider never answers", twin="expiry and grace later the whole deposit is back")
@with_terms
def test_the_longest_lock_is_a_year_and_thirty_days(run: Run) -> None:
    longest = replace(run, lifetime=MAX_EXPIRY_AHEAD, grace=MAX_GRACE_PERIOD)
    stage = Stage(longest).opened()
    opened_at = stage.world.now
    stage.world.set_clock(now=opened_at + MAX_EXPIRY_AHEAD + MAX_GRACE_PERIOD - 1)
    twin = at(stage, opened_at + MAX_EXPIRY_AHEAD + MAX_GRACE_PERIOD, stage.withdraw)
    refused(stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=twin)
    assert stage.balance(stage.payer_token) == WALLET


@row("C27", "the provider keeps settling to put off the end", twin="the deadline does not move, the rest is refunded")
@every_kind
def test_settling_does_not_put_off_the_deadline(run: Run) -> None:
    stage = closure_requested(run)
    deadline = deadline_of(stage)
    for amount in (8_000, 16_000):
        stage.world.warp(seconds=run.grace // 3)
        accepted(stage.world, stage.settle(amount))
        assert stage.account.deadline() == deadline
    stage.world.set_clock(now=deadline - 1)
    refused(stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=at(stage, deadline, stage.withdraw))
    assert stage.balance(stage.payer_token) == WALLET - 16_000


@row(
    "C49",
    "a session without expiry withdrawn at once, as if 0 were a time in the past",
    twin="after close request and grace",
)
@every_kind
def test_no_expiry_means_never(run: Run) -> None:
    stage = Stage(replace(run, lifetime=None)).opened()
    assert stage.account.expires_at == 0

    def after_asking() -> Call:
        accepted(stage.world, stage.request_close())
        stage.world.warp(seconds=run.grace)
        return stage.withdraw()

    refused(stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=after_asking)


@row("C21", "the earlier of two deadlines is passed over", twin="it counts")
@with_terms
def test_the_earlier_deadline_counts(run: Run) -> None:
    stage = Stage(replace(run, grace=3_600)).opened()
    expiry = stage.account.expires_at
    stage.world.set_clock(now=expiry - 1_800)
    accepted(stage.world, stage.request_close())
    assert deadline_of(stage) == expiry - 1_800 + 3_600
    stage.world.set_clock(now=expiry + 1_799)
    refused(
        stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=at(stage, expiry + 1_800, stage.withdraw)
    )


@row("C21", "the cluster's clock falls back after the deadline was seen", twin="it is reached again")
@every_deadline
def test_a_clock_that_falls_back_only_delays_the_withdrawal(prepare: Prepare, run: Run) -> None:
    stage = prepare(run)
    deadline = deadline_of(stage)
    stage.world.set_clock(now=deadline + 5)
    stage.world.set_clock(now=stage.account.opened_at - 3_600)
    refused(stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=at(stage, deadline, stage.withdraw))


@with_terms
def test_an_expired_session_is_settled_until_its_deadline(run: Run) -> None:
    stage = Stage(run).opened()
    stage.world.set_clock(now=stage.account.expires_at)
    accepted(stage.world, stage.settle(240_000))
    stage.world.set_clock(now=deadline_of(stage) - 1)
    accepted(stage.world, stage.close(480_000))
    assert stage.balance(stage.payee_token) == WALLET + 480_000


@with_terms
def test_the_payer_may_ask_to_close_after_expiry_and_deadline(run: Run) -> None:
    stage = Stage(run).opened()
    stage.world.set_clock(now=deadline_of(stage) + 1)
    accepted(stage.world, stage.request_close())
    accepted(stage.world, stage.withdraw())
    assert stage.balance(stage.payer_token) == WALLET


@every_kind
def test_slots_do_not_count_towards_a_deadline(run: Run) -> None:
    stage = closure_requested(run)
    stage.world.warp(slots=10 * OPEN_SLOT_WINDOW)
    deadline = deadline_of(stage)
    refused(stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=at(stage, deadline, stage.withdraw))
