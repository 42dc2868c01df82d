"""`close`: settle and refund in one instruction; nothing is left but, in voucher mode, a marker of the address."""

from dataclasses import replace

import pytest
from solders.system_program import TransferParams, transfer

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import OPEN_SLOT_WINDOW, U64_MAX
from retainer.protocol.events import SessionClosed
from retainer.protocol.session import ChainStatus
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Mode, Run
from tests.program.harness.errors import AnchorError, ProgramError, Reason, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import by_voucher, every_kind, metered, row, with_terms
from tests.program.harness.stage import USAGE_ROOT, Stage
from tests.program.harness.tokens import token_account
from tests.program.harness.world import SOL
from tests.program.harness.wrong_accounts import wrong_token_accounts


@every_kind
def test_a_close_pays_the_payee_refunds_the_payer_and_returns_the_rent(run: Run) -> None:
    stage = Stage(run).opened()
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.settle(80_000, units=10))
    opened = stage.account
    outcome = accepted(stage.world, stage.close(240_000, units=30))

    assert stage.balance(stage.payee_token) == WALLET + 240_000
    assert stage.balance(stage.payer_token) == WALLET - 240_000
    assert stage.gone
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL
    (event,) = stage.events(outcome)
    assert isinstance(event, SessionClosed)
    assert (event.session, event.deposit, event.settled) == (stage.session, run.deposit, 240_000)
    assert (event.refunded, event.charged_units) == (run.deposit - 240_000, 30)
    assert (event.opened_at, event.usage_root) == (opened.opened_at, USAGE_ROOT)


@metered
def test_a_metered_close_leaves_nothing_even_at_once(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.close(240_000))
    assert stage.gone
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL


@by_voucher
def test_a_voucher_close_inside_the_window_leaves_a_closed_session(run: Run) -> None:
    stage = Stage(run).opened()
    opened = stage.account
    rent = stage.lamports(stage.session)
    accepted(stage.world, stage.close(240_000, units=30))

    assert stage.account == replace(opened, status=ChainStatus.CLOSED, settled=BaseUnits(240_000), charged_units=30)
    assert stage.lamports(stage.session) == rent
    assert stage.world.get(stage.escrow) is None
    assert stage.balance(stage.payee_token) == WALLET + 240_000
    assert stage.balance(stage.payer_token) == WALLET - 240_000
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL - rent


@pytest.mark.parametrize("amount", [0, 8_000, 1_000_000])
@every_kind
def test_the_token_programs_batch_closes_alike(run: Run, amount: int) -> None:
    single, batched = Stage(run).opened(), Stage(replace(run, batch=True)).opened()
    for stage in (single, batched):
        stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
        accepted(stage.world, stage.close(amount))
        assert stage.gone
    for token in (single.payer_token, single.payee_token):
        assert single.world.get(token) == batched.world.get(token)


@every_kind
def test_flags_other_than_batch_are_refused(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.close()
    attacks = [
        (honest.with_data(honest.data[:-1] + bytes([flags])), ProgramError.UNKNOWN_FLAGS) for flags in (2, 3, 128, 255)
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C20", "leave escrow or session behind: close names another escrow, or none", twin="one instruction removes both")
@every_kind
def test_escrow_and_session_go_together(run: Run) -> None:
    stage = Stage(run).opened()
    other = Stage(replace(run, salt=8), world=stage.world).opened()
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    honest = stage.close()
    attacks: list[tuple[Call, Reason]] = [
        (honest.with_account("escrow", wrong), ProgramError.WRONG_ESCROW)
        for wrong in (other.escrow, stage.stranger_token, stage.world.keypair("none").pubkey())
    ]
    attacks += [(honest.with_account("escrow", stage.payee_token), AnchorError.DUPLICATE_WRITABLE)]
    each_refused(stage.world, attacks, twin=honest)
    assert stage.gone
    assert stage.balance(other.escrow) == run.deposit


@every_kind
def test_operator_and_payee_close_at_what_was_settled_without_any_authorization(run: Run) -> None:
    for by_payee in (False, True):
        stage = Stage(run).opened()
        accepted(stage.world, stage.settle(240_000))
        accepted(stage.world, stage.close(240_000, by=stage.payee if by_payee else stage.operator))
        assert stage.balance(stage.payee_token) == WALLET + 240_000
        assert stage.balance(stage.payer_token) == WALLET - 240_000


@row(
    "C50",
    "a voucher session that never saw a voucher keeps the provider's rent",
    twin="close at 0 needs the submitter only",
)
@by_voucher
def test_a_voucher_session_without_any_voucher_can_be_closed_for_nothing_only(run: Run) -> None:
    stage = Stage(run).opened()
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    attack = stage.close(8_000).alone()
    refused(stage.world, attack, ProgramError.VOUCHER_MISSING, twin=stage.close(0))
    assert stage.gone
    assert stage.balance(stage.payer_token) == WALLET
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL


@row("C02", "close signed by a stranger, the payer, the sponsor, or the voucher's signer", twin="the operator signs")
@every_kind
def test_nobody_but_operator_and_payee_closes(run: Run) -> None:
    stage = Stage(run).opened()
    others = (stage.stranger, stage.payer, stage.voucher_key, stage.world.fees)
    attacks: list[tuple[Call, Reason]] = [
        (stage.close(amount, by=person), ProgramError.UNAUTHORIZED_SUBMITTER)
        for person in others
        for amount in (240_000, 0)
    ]
    attacks += [(stage.close(by=stage.sponsor), AnchorError.DUPLICATE_WRITABLE)]
    each_refused(stage.world, attacks, twin=stage.close())


@row("C01", "close without the submitter's signature", twin="the operator signs")
@every_kind
def test_the_submitter_must_sign(run: Run) -> None:
    stage = Stage(run).opened()
    refused(stage.world, stage.close().unsigned("submitter"), Runtime.MISSING_SIGNATURE, twin=stage.close())


@with_terms
def test_a_payee_that_is_not_the_operator_names_no_metered_amount(run: Run) -> None:
    stage = Stage(replace(run, mode=Mode.METERED)).opened()
    attack = stage.close(240_000, by=stage.payee)
    refused(stage.world, attack, ProgramError.NOT_AUTHORIZED, twin=stage.close(0, by=stage.payee))


@row("C16", "close above the deposit, up to u64::MAX, or below what was settled", twin="close at the whole deposit")
@every_kind
def test_amounts_rise_and_stay_within_the_deposit(run: Run) -> None:
    stage = Stage(replace(run, price=0)).opened()
    accepted(stage.world, stage.settle(240_000, units=30))
    whole = stage.voucher(run.deposit) if run.mode is Mode.VOUCHER else None
    attacks = [
        (stage.close(run.deposit + 1, units=30, authorization=whole), ProgramError.AMOUNT_ABOVE_DEPOSIT),
        (stage.close(U64_MAX, units=30, authorization=whole), ProgramError.AMOUNT_ABOVE_DEPOSIT),
        (stage.close(239_999, units=30), ProgramError.AMOUNT_BELOW_SETTLED),
        (stage.close(0, units=30), ProgramError.AMOUNT_BELOW_SETTLED),
        (stage.close(250_000, units=29), ProgramError.UNITS_DECREASED),
    ]
    each_refused(stage.world, attacks, twin=stage.close(run.deposit, units=30))
    assert stage.balance(stage.payer_token) == WALLET - run.deposit


@with_terms
def test_the_committed_price_holds(run: Run) -> None:
    stage = Stage(run).opened()
    attacks = [
        (stage.close(amount, units=units), ProgramError.PRICE_MISMATCH)
        for amount, units in ((240_001, 30), (240_000, 31), (240_000, 0), (240_000, 30 + 2**58), (0, 1))
    ]
    each_refused(stage.world, attacks, twin=stage.close(240_000, units=30))


@row("C48", "a close made for an earlier session, by its opened_at", twin="with this session's opened_at")
@every_kind
def test_opened_at_names_the_session_that_was_meant(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.close()
    data = honest.data
    attacks = [
        (
            honest.with_data(data[:17] + when.to_bytes(8, "little", signed=True) + data[25:]),
            ProgramError.OPENED_AT_MISMATCH,
        )
        for when in (stage.world.now - 1, stage.world.now + 1, 0, -1)
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C06", "pay to an account that is not a usable token account of the payee", twin="to the payee's")
@every_kind
def test_the_payees_token_account_is_checked(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.close()
    attacks = wrong_token_accounts(stage, honest, "payee_token", stage.payee.pubkey(), ProgramError.WRONG_PAYEE_TOKEN)
    each_refused(stage.world, attacks, twin=honest)


@row("C07", "refund to an account that is not a usable token account of the payer", twin="to the payer's")
@every_kind
def test_the_payers_token_account_is_checked(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.close()
    attacks = wrong_token_accounts(stage, honest, "payer_token", stage.payer.pubkey(), ProgramError.WRONG_PAYER_TOKEN)
    each_refused(stage.world, attacks, twin=honest)


@every_kind
def test_the_refund_reaches_any_token_account_of_the_payers(run: Run) -> None:
    stage = Stage(run).opened()
    second = stage.put_token("second", token_account(run.token, stage.mint, stage.payer.pubkey(), 5))
    accepted(stage.world, stage.close(240_000, payer_token=second))
    assert stage.balance(second) == 5 + run.deposit - 240_000


@row("C36", "the rent goes to another key than the one that paid it", twin="to the rent payer")
@row("C28", "fake token program or instructions sysvar", twin="the real ones")
@every_kind
def test_rent_payer_mint_and_programs_are_the_sessions(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.close()
    fake = stage.stranger.pubkey()
    attacks: list[tuple[Call, Reason]] = [
        (honest.with_account("rent_payer", wrong), ProgramError.WRONG_RENT_PAYER)
        for wrong in (fake, stage.payer.pubkey(), stage.world.fees.pubkey())
    ]
    attacks += [(honest.with_account("rent_payer", stage.operator.pubkey()), AnchorError.DUPLICATE_WRITABLE)]
    attacks += [
        (honest.with_account("mint", stage.new_mint("other mint")), ProgramError.WRONG_MINT),
        (honest.with_account("token_program", fake), ProgramError.WRONG_TOKEN_PROGRAM),
        (honest.with_account("instructions", fake), ProgramError.WRONG_INSTRUCTIONS_SYSVAR),
    ]
    each_refused(stage.world, attacks, twin=honest)


@every_kind
def test_the_rent_returns_even_to_an_account_that_was_emptied(run: Run) -> None:
    stage = Stage(run).opened()
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    left = stage.lamports(stage.sponsor.pubkey())
    drain = TransferParams(from_pubkey=stage.sponsor.pubkey(), to_pubkey=stage.stranger.pubkey(), lamports=left)
    stage.world.send([transfer(drain)], [stage.sponsor]).require()
    assert stage.world.get(stage.sponsor.pubkey()) is None
    accepted(stage.world, stage.close())
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL - left


@by_voucher
def test_a_closed_session_is_not_touched_again(run: Run) -> None:
    stage = Stage(run).opened()
    twin = Stage(replace(run, salt=8), world=stage.world).opened()
    higher, again = stage.settle(480_000), stage.close(480_000)
    accepted(stage.world, stage.close(240_000))
    calls = (higher, again, stage.close(240_000), stage.top_up(), stage.request_close())
    attacks = [(call, ProgramError.SESSION_CLOSED) for call in calls]
    each_refused(stage.world, attacks, twin=twin.close(480_000))
