"""`request_close`: the payer, and only the payer, starts the grace period, once."""

from dataclasses import replace

from retainer.protocol.events import CloseRequested
from retainer.protocol.session import ChainStatus
from tests.program.harness.cast import Run
from tests.program.harness.errors import ProgramError, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import every_kind, row, with_terms
from tests.program.harness.stage import Stage


@every_kind
def test_a_request_moves_open_to_closing_and_starts_the_clock(run: Run) -> None:
    stage = Stage(run).opened()
    before = stage.account
    stage.world.warp(seconds=100)
    outcome = accepted(stage.world, stage.request_close())

    assert stage.account == replace(before, status=ChainStatus.CLOSING, closure_started_at=stage.world.now)
    assert stage.balance(stage.escrow) == run.deposit
    (event,) = stage.events(outcome)
    assert isinstance(event, CloseRequested)
    assert (event.session, event.closure_started_at) == (stage.session, stage.world.now)
    assert event.deadline == stage.world.now + run.grace == stage.account.deadline()


@with_terms
def test_a_request_after_expiry_does_not_move_the_earlier_deadline(run: Run) -> None:
    stage = Stage(run).opened()
    expiry = stage.account.expires_at
    stage.world.set_clock(now=expiry + 10)
    outcome = accepted(stage.world, stage.request_close())
    (event,) = stage.events(outcome)
    assert isinstance(event, CloseRequested)
    assert event.deadline == expiry + run.grace == stage.account.deadline()


@row("C01", "request the close of another's session", twin="the payer asks")
@every_kind
def test_nobody_else_asks_to_close(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.request_close()
    others = (stage.stranger, stage.payee, stage.operator, stage.sponsor, stage.world.fees)
    attacks = [
        (honest.with_account("payer", person.pubkey()).signed_by(person), ProgramError.UNAUTHORIZED_PAYER)
        for person in others
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C01", "request a close without the payer's signature", twin="the payer signs")
@every_kind
def test_the_payer_must_sign(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.request_close()
    refused(stage.world, honest.unsigned("payer"), Runtime.MISSING_SIGNATURE, twin=honest)


@every_kind
def test_asking_twice_does_not_start_the_clock_again(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    started = stage.account.closure_started_at
    stage.world.warp(seconds=100)
    refused(stage.world, stage.request_close(), ProgramError.SESSION_NOT_OPEN, twin=stage.settle())
    assert stage.account.closure_started_at == started
