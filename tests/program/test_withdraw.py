"""`withdraw`: from the deadline on anyone may send the payer its money back; it needs nothing of the payee."""

from dataclasses import replace

from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.events import SessionReclaimed, SessionWithdrawn
from retainer.protocol.session import ChainStatus
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Mode, Run
from tests.program.harness.errors import ProgramError
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import by_voucher, every_kind, row
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import AccountState, token_account
from tests.program.harness.world import SOL
from tests.program.harness.wrong_accounts import wrong_token_accounts


def closing(run: Run) -> Stage:
    """A session that was settled in part, and whose closure was requested a grace period ago."""
    stage = Stage(run).opened()
    accepted(stage.world, stage.settle(240_000))
    accepted(stage.world, stage.request_close())
    stage.world.warp(seconds=run.grace, slots=OPEN_SLOT_WINDOW + 1)
    return stage


@every_kind
def test_a_withdrawal_refunds_what_was_not_settled_and_returns_the_rent(run: Run) -> None:
    stage = closing(run)
    outcome = accepted(stage.world, stage.withdraw())

    assert stage.balance(stage.payer_token) == WALLET - 240_000
    assert stage.balance(stage.payee_token) == WALLET + 240_000
    assert stage.gone
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL
    (event,) = stage.events(outcome)
    assert isinstance(event, SessionWithdrawn)
    assert (event.session, event.settled, event.refunded) == (stage.session, 240_000, run.deposit - 240_000)


@every_kind
def test_nobody_of_the_session_needs_to_sign(run: Run) -> None:
    stage = closing(run)
    assert stage.withdraw().signers == ()
    accepted(stage.world, stage.withdraw())


@every_kind
def test_a_withdrawal_inside_the_window_keeps_a_voucher_sessions_address(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    stage.world.warp(seconds=run.grace)
    rent = stage.lamports(stage.session)
    accepted(stage.world, stage.withdraw())

    assert stage.balance(stage.payer_token) == WALLET
    assert stage.world.get(stage.escrow) is None
    if run.mode is Mode.METERED:
        assert stage.gone
    else:
        assert stage.account.status is ChainStatus.CLOSED
        assert stage.lamports(stage.session) == rent


@by_voucher
def test_a_closed_sessions_rent_returns_when_the_window_is_over(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.close())
    rent = stage.lamports(stage.session)
    stage.world.set_clock(slot=stage.open_slot + OPEN_SLOT_WINDOW)

    def one_slot_later() -> Call:
        stage.world.warp(slots=1)
        return stage.withdraw()

    outcome = refused(stage.world, stage.withdraw(), ProgramError.WINDOW_NOT_OVER, twin=one_slot_later)
    assert stage.gone
    assert stage.lamports(stage.sponsor.pubkey()) == 10 * SOL
    (event,) = stage.events(outcome)
    assert isinstance(event, SessionReclaimed)
    assert (event.session, event.rent_payer, event.lamports) == (stage.session, stage.sponsor.pubkey(), rent)


@by_voucher
def test_a_closed_sessions_rent_needs_no_token_account_any_more(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.close())
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    accepted(stage.world, stage.withdraw(payer_token=stage.world.keypair("nobody").pubkey()))
    assert stage.gone


@by_voucher
def test_a_closed_sessions_rent_goes_to_its_payer_only(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.close())
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    honest = stage.withdraw()
    attacks = [
        (honest.with_account("rent_payer", stage.stranger.pubkey()), ProgramError.WRONG_RENT_PAYER),
        (honest.with_account("escrow", stage.stranger_token), ProgramError.WRONG_ESCROW),
        (honest.with_account("mint", stage.new_mint("other mint")), ProgramError.WRONG_MINT),
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C24", "the payer withdraws before anything set a deadline", twin="after close request and grace period")
@every_kind
def test_an_open_session_is_not_withdrawn(run: Run) -> None:
    stage = Stage(replace(run, lifetime=None)).opened()
    stage.world.warp(seconds=10 * 365 * 86_400)

    def after_the_grace_period() -> Call:
        accepted(stage.world, stage.request_close())
        stage.world.warp(seconds=run.grace)
        return stage.withdraw()

    refused(stage.world, stage.withdraw(), ProgramError.DEADLINE_NOT_REACHED, twin=after_the_grace_period)


@row("C07", "withdraw to an account that is not a usable token account of the payer", twin="to the payer's")
@every_kind
def test_the_refund_goes_to_a_token_account_of_the_payers(run: Run) -> None:
    stage = closing(run)
    honest = stage.withdraw()
    attacks = wrong_token_accounts(stage, honest, "payer_token", stage.payer.pubkey(), ProgramError.WRONG_PAYER_TOKEN)
    each_refused(stage.world, attacks, twin=honest)


@row(
    "C07", "the payer closed its token account, or cannot use it", twin="the refund reaches another one of the payer's"
)
@every_kind
def test_a_lost_token_account_does_not_cost_the_refund(run: Run) -> None:
    stage = closing(run)
    frozen = token_account(run.token, stage.mint, stage.payer.pubkey(), 0, state=AccountState.FROZEN)
    stage.world.put(stage.payer_token, frozen)
    second = stage.put_token("second", token_account(run.token, stage.mint, stage.payer.pubkey(), 0))
    attack, honest = stage.withdraw(), stage.withdraw(payer_token=second)
    refused(stage.world, attack, ProgramError.TOKEN_ACCOUNT_FROZEN, twin=honest)
    assert stage.balance(second) == run.deposit - 240_000


@row("C36", "the rent goes to another key than the one that paid it", twin="to the rent payer")
@row("C28", "fake token program", twin="the real one")
@every_kind
def test_every_account_is_the_sessions(run: Run) -> None:
    stage = closing(run)
    other = Stage(replace(run, salt=8), world=stage.world).opened()
    honest = stage.withdraw()
    fake = stage.stranger.pubkey()
    attacks: list[tuple[Call, ProgramError]] = [
        (honest.with_account("rent_payer", fake), ProgramError.WRONG_RENT_PAYER),
        (honest.with_account("rent_payer", stage.payer.pubkey()), ProgramError.WRONG_RENT_PAYER),
        (honest.with_account("escrow", other.escrow), ProgramError.WRONG_ESCROW),
        (honest.with_account("mint", stage.new_mint("other mint")), ProgramError.WRONG_MINT),
        (honest.with_account("token_program", fake), ProgramError.WRONG_TOKEN_PROGRAM),
    ]
    each_refused(stage.world, attacks, twin=honest)
