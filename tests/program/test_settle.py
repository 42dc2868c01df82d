"""`settle`: pays the payee up to a cumulative amount and leaves the session as it was otherwise."""

from dataclasses import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import OPEN_SLOT_WINDOW, U64_MAX
from retainer.protocol.events import SessionSettled
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Mode, Run
from tests.program.harness.errors import ProgramError, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import every_kind, metered, row, with_terms
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import token_account
from tests.program.harness.wrong_accounts import wrong_token_accounts


@every_kind
def test_a_settle_pays_the_payee_the_difference_and_counts_units(run: Run) -> None:
    stage = Stage(run).opened()
    before = stage.account
    accepted(stage.world, stage.settle(240_000, units=30))
    outcome = accepted(stage.world, stage.settle(400_000, units=50))

    assert stage.account == replace(before, settled=BaseUnits(400_000), charged_units=50)
    assert stage.balance(stage.payee_token) == WALLET + 400_000
    assert stage.balance(stage.escrow) == run.deposit - 400_000
    assert stage.balance(stage.payer_token) == WALLET - run.deposit
    (event,) = stage.events(outcome)
    assert isinstance(event, SessionSettled)
    assert (event.session, event.settled, event.charged_units) == (stage.session, 400_000, 50)


@row("C23", "the payer disappears", twin="the operator settles and closes without it")
@every_kind
def test_settling_and_closing_need_nothing_of_the_payer(run: Run) -> None:
    stage = Stage(run).opened()
    for call in (stage.settle(400_000), stage.close(600_000)):
        assert stage.payer.pubkey() not in {key.pubkey() for key in call.signers}
    accepted(stage.world, stage.settle(400_000))
    accepted(stage.world, stage.close(600_000))
    assert stage.balance(stage.payer_token) == WALLET - 600_000


@every_kind
def test_the_whole_deposit_can_be_settled(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.settle(run.deposit))
    assert stage.balance(stage.escrow) == 0
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.close(run.deposit))
    assert stage.gone


@every_kind
def test_a_closing_session_is_still_settled(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    accepted(stage.world, stage.settle(240_000))
    assert stage.balance(stage.payee_token) == WALLET + 240_000


@every_kind
def test_the_payee_submits_what_is_authorized(run: Run) -> None:
    """In voucher mode the payee needs the agent's word only; in metered mode the amount is the operator's to name."""
    stage = Stage(run).opened()
    if run.mode is Mode.VOUCHER or stage.payee == stage.operator:
        accepted(stage.world, stage.settle(240_000, by=stage.payee))
    else:
        attack = stage.settle(240_000, by=stage.payee)
        refused(stage.world, attack, ProgramError.NOT_AUTHORIZED, twin=stage.settle(240_000))


@row("C02", "settle signed by a stranger, the payer, the sponsor, or the voucher's signer", twin="the operator signs")
@every_kind
def test_nobody_but_operator_and_payee_submits(run: Run) -> None:
    stage = Stage(run).opened()
    others = (stage.stranger, stage.payer, stage.sponsor, stage.voucher_key, stage.world.fees)
    attacks = [(stage.settle(by=person), ProgramError.UNAUTHORIZED_SUBMITTER) for person in others]
    each_refused(stage.world, attacks, twin=stage.settle())


@row("C02", "the payer submits a voucher of its own, old or new", twin="the operator submits it")
@every_kind
def test_the_payer_submits_no_settlement_whatever_its_amount(run: Run) -> None:
    stage = Stage(run).opened()
    amounts = (0, 8_000, run.deposit)
    attacks = [(stage.settle(amount, by=stage.payer), ProgramError.UNAUTHORIZED_SUBMITTER) for amount in amounts]
    each_refused(stage.world, attacks, twin=stage.settle(8_000))


@row("C01", "settle without the submitter's signature", twin="the operator signs")
@every_kind
def test_the_submitter_must_sign(run: Run) -> None:
    stage = Stage(run).opened()
    refused(stage.world, stage.settle().unsigned("submitter"), Runtime.MISSING_SIGNATURE, twin=stage.settle())


@row("C42", "a key that was never this session's operator, such as a rotated one", twin="the operator of this session")
@metered
def test_an_operator_of_other_sessions_is_nobody_here(run: Run) -> None:
    stage = Stage(run).opened()
    rotated = stage.world.person("rotated operator")
    attack = stage.settle(by=rotated)
    refused(stage.world, attack, ProgramError.UNAUTHORIZED_SUBMITTER, twin=stage.settle())


@row("C16", "settle above the deposit, up to u64::MAX, or below what was settled", twin="settle the whole deposit")
@every_kind
def test_amounts_rise_and_stay_within_the_deposit(run: Run) -> None:
    stage = Stage(replace(run, price=0)).opened()
    accepted(stage.world, stage.settle(240_000, units=30))
    whole = stage.voucher(run.deposit) if run.mode is Mode.VOUCHER else None
    attacks = [
        (stage.settle(run.deposit + 1, units=30, authorization=whole), ProgramError.AMOUNT_ABOVE_DEPOSIT),
        (stage.settle(U64_MAX, units=30, authorization=whole), ProgramError.AMOUNT_ABOVE_DEPOSIT),
        (stage.settle(239_999, units=30), ProgramError.AMOUNT_BELOW_SETTLED),
        (stage.settle(0, units=30), ProgramError.AMOUNT_BELOW_SETTLED),
    ]
    each_refused(stage.world, attacks, twin=stage.settle(run.deposit, units=30))


@every_kind
def test_units_never_fall(run: Run) -> None:
    stage = Stage(replace(run, price=0)).opened()
    accepted(stage.world, stage.settle(240_000, units=30))
    attack = stage.settle(250_000, units=29)
    refused(stage.world, attack, ProgramError.UNITS_DECREASED, twin=stage.settle(250_000, units=30))


@row("C16", "an amount that is not the units times the committed price", twin="one that is")
@with_terms
def test_the_committed_price_holds(run: Run) -> None:
    stage = Stage(run).opened()
    attacks = [
        (stage.settle(240_001, units=30), ProgramError.PRICE_MISMATCH),
        (stage.settle(239_999, units=30), ProgramError.PRICE_MISMATCH),
        (stage.settle(240_000, units=31), ProgramError.PRICE_MISMATCH),
        (stage.settle(240_000, units=0), ProgramError.PRICE_MISMATCH),
        (stage.settle(240_000, units=U64_MAX), ProgramError.PRICE_MISMATCH),
        (stage.settle(0, units=1), ProgramError.PRICE_MISMATCH),
    ]
    each_refused(stage.world, attacks, twin=stage.settle(240_000, units=30))


@with_terms
def test_units_that_overflow_their_product_do_not_wrap_into_the_amount(run: Run) -> None:
    """8,000 = 2^6 * 125, so 30 + 2^58 units times 8,000 is 240,000 modulo 2^64."""
    stage = Stage(run).opened()
    wrapped = 30 + 2**58
    assert wrapped * run.price % 2**64 == 240_000
    attack = stage.settle(240_000, units=wrapped)
    refused(stage.world, attack, ProgramError.PRICE_MISMATCH, twin=stage.settle(240_000, units=30))


@every_kind
def test_the_amount_already_settled_needs_no_authorization(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.settle(240_000))
    before = stage.account
    for submitter in (stage.operator, stage.payee):
        accepted(stage.world, stage.settle(240_000, by=submitter))
    assert stage.account == before
    assert stage.balance(stage.payee_token) == WALLET + 240_000


@row("C48", "a settlement made for an earlier session, by its opened_at", twin="with this session's opened_at")
@every_kind
def test_opened_at_names_the_session_that_was_meant(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.settle()
    attacks = [
        (honest.with_data(honest.data[:-8] + when.to_bytes(8, "little", signed=True)), ProgramError.OPENED_AT_MISMATCH)
        for when in (stage.world.now - 1, stage.world.now + 1, 0, -1)
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C06", "pay to an account that is not a usable token account of the payee", twin="to the payee's")
@every_kind
def test_the_payees_token_account_is_checked(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.settle()
    attacks = wrong_token_accounts(stage, honest, "payee_token", stage.payee.pubkey(), ProgramError.WRONG_PAYEE_TOKEN)
    each_refused(stage.world, attacks, twin=honest)


@every_kind
def test_any_token_account_of_the_payees_will_do(run: Run) -> None:
    stage = Stage(run).opened()
    second = stage.put_token("second", token_account(run.token, stage.mint, stage.payee.pubkey(), 0))
    accepted(stage.world, stage.settle(240_000, payee_token=second))
    assert stage.balance(second) == 240_000


@row("C10", "settle this session out of another one's escrow", twin="out of its own")
@row("C28", "fake token program or instructions sysvar", twin="the real ones")
@every_kind
def test_escrow_mint_and_programs_are_the_sessions(run: Run) -> None:
    stage = Stage(run).opened()
    other = Stage(replace(run, salt=8), world=stage.world).opened()
    honest = stage.settle()
    fake = stage.stranger.pubkey()
    attacks: list[tuple[Call, ProgramError]] = [
        (honest.with_account("escrow", other.escrow), ProgramError.WRONG_ESCROW),
        (honest.with_account("escrow", stage.payer_token), ProgramError.WRONG_ESCROW),
        (honest.with_account("mint", stage.new_mint("other mint")), ProgramError.WRONG_MINT),
        (honest.with_account("token_program", fake), ProgramError.WRONG_TOKEN_PROGRAM),
        (honest.with_account("instructions", fake), ProgramError.WRONG_INSTRUCTIONS_SYSVAR),
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C10", "another session's voucher and operator settle this session", twin="its own voucher")
@every_kind
def test_sessions_of_the_same_people_do_not_mix(run: Run) -> None:
    stage = Stage(run).opened()
    other = Stage(replace(run, salt=8), world=stage.world).opened()
    attack = other.settle().with_account("session", stage.session)
    refused(stage.world, attack, ProgramError.WRONG_ESCROW, twin=other.settle())
    assert stage.account.settled == 0
