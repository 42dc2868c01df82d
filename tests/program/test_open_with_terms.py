"""`open_with_terms`: the terms it commits, the vault it makes, and the roles that only it can set."""

from dataclasses import replace

import pytest

from retainer.protocol.constants import MAX_EXPIRY_AHEAD, U64_MAX
from retainer.protocol.events import SessionOpened
from retainer.protocol.session import ChainStatus, EscrowKind
from tests.program.harness.cast import WALLET, Mode, Opening, Run
from tests.program.harness.errors import AnchorError, ProgramError
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import metered, row, with_terms
from tests.program.harness.stage import SLA_HASH, Stage
from tests.program.harness.tokens import TokenProgram

I64_MIN, I64_MAX = -(2**63), 2**63 - 1


@with_terms
def test_terms_are_committed_from_the_first_moment(run: Run) -> None:
    stage = Stage(run)
    expires_at = stage.expires_at
    outcome = accepted(stage.world, stage.open())

    account = stage.account
    assert (account.version, account.status, account.escrow_kind) == (1, ChainStatus.OPEN, EscrowKind.VAULT)
    assert account.seeds == stage.seeds
    assert (account.operator, account.payee) == (stage.operator.pubkey(), stage.payee.pubkey())
    assert (account.rent_payer, account.escrow) == (stage.sponsor.pubkey(), stage.escrow)
    assert (account.deposit, account.settled, account.charged_units) == (run.deposit, 0, 0)
    assert (account.grace_period, account.decimals) == (run.grace, 6)
    assert (account.opened_at, account.closure_started_at) == (stage.world.now, 0)
    assert (account.price_per_unit, account.expires_at, account.sla_hash) == (run.price, expires_at, SLA_HASH)
    assert stage.balance(stage.payer_token) == WALLET - run.deposit
    assert stage.balance(stage.escrow) == run.deposit
    (event,) = stage.events(outcome)
    assert isinstance(event, SessionOpened)
    assert (event.session, event.deposit, event.sla_hash) == (stage.session, run.deposit, SLA_HASH)


@with_terms
def test_the_token_programs_batch_opens_the_same_session(run: Run) -> None:
    single, batched = Stage(run).opened(), Stage(replace(run, batch=True)).opened()
    assert single.account == batched.account
    assert single.world.get(single.escrow) == batched.world.get(batched.escrow)


@pytest.mark.parametrize("token", TokenProgram)
def test_flags_other_than_batch_are_refused(token: TokenProgram) -> None:
    stage = Stage(Run(token=token))
    honest = stage.open()
    attacks = [
        (honest.with_data(honest.data[:-1] + bytes([flags])), ProgramError.UNKNOWN_FLAGS) for flags in (2, 3, 128, 255)
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C16", "commit a price of which the deposit cannot pay one unit", twin="a deposit of exactly one unit")
@with_terms
def test_a_session_can_pay_at_least_one_unit(run: Run) -> None:
    stage = Stage(run)
    attacks = [
        (stage.open(price_per_unit=price), ProgramError.PRICE_ABOVE_DEPOSIT) for price in (run.deposit + 1, U64_MAX)
    ]
    each_refused(stage.world, attacks, twin=stage.open(price_per_unit=run.deposit))


@with_terms
def test_price_0_means_variable(run: Run) -> None:
    stage = Stage(replace(run, price=0)).opened()
    accepted(stage.world, stage.settle(123_457, units=3))


@row("C25", "expiry now, in the past, more than a year ahead, negative, i64's limits", twin="one second ahead")
@with_terms
def test_the_expiry_lies_in_the_future_and_at_most_a_year_ahead(run: Run) -> None:
    stage = Stage(run)
    now = stage.world.now
    wrong = (now, now - 1, 1, -1, now + MAX_EXPIRY_AHEAD + 1, I64_MIN, I64_MAX)
    attacks = [(stage.open(expires_at=expiry), ProgramError.EXPIRY_OUT_OF_RANGE) for expiry in wrong]
    each_refused(stage.world, attacks, twin=stage.open(expires_at=now + 1))


@with_terms
def test_an_expiry_a_year_ahead_is_accepted(run: Run) -> None:
    stage = Stage(run)
    accepted(stage.world, stage.open(expires_at=stage.world.now + MAX_EXPIRY_AHEAD))


@row("C46", "the payer names its own key as operator", twin="the provider's operator")
@metered
def test_the_payer_never_operates(run: Run) -> None:
    stage = Stage(replace(run, opening=Opening.TERMS))
    attack = stage.open(operator=stage.payer.pubkey(), authorized_signer=stage.payer.pubkey())
    refused(stage.world, attack, ProgramError.PAYER_IS_OPERATOR, twin=stage.open())


@with_terms
def test_the_payer_is_not_the_operator_in_voucher_mode_either(run: Run) -> None:
    stage = Stage(run)
    attack = stage.open(operator=stage.payer.pubkey(), authorized_signer=stage.voucher_key.pubkey())
    refused(stage.world, attack, ProgramError.PAYER_IS_OPERATOR, twin=stage.open())


@row(
    "C47",
    "the operator pays the rent, so that its signature stands in a transaction that others build",
    twin="a sponsor without a role pays",
)
@with_terms
def test_the_operator_never_pays_the_rent(run: Run) -> None:
    stage = Stage(run)
    attack = stage.open(rent_payer=stage.operator.pubkey()).signed_by(stage.operator)
    refused(stage.world, attack, ProgramError.SPONSOR_HAS_ROLE, twin=stage.open())


@with_terms
def test_operator_and_payee_may_be_one(run: Run) -> None:
    stage = Stage(run)
    payee = stage.payee.pubkey()
    signer = payee if run.mode is Mode.METERED else stage.voucher_key.pubkey()
    accepted(stage.world, stage.open(operator=payee, authorized_signer=signer))


@with_terms
def test_every_program_is_the_real_one(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    fake = stage.stranger.pubkey()
    attacks = [
        (honest.with_account("token_program", fake), ProgramError.WRONG_TOKEN_PROGRAM),
        (honest.with_account("system_program", fake), AnchorError.NOT_EXECUTABLE),
    ]
    each_refused(stage.world, attacks, twin=honest)


@with_terms
def test_the_other_token_program_does_not_serve_this_mint(run: Run) -> None:
    stage = Stage(run)
    other = next(one for one in TokenProgram if one is not run.token)
    refused(stage.world, stage.open(token_program=other.id), ProgramError.WRONG_TOKEN_PROGRAM, twin=stage.open())
