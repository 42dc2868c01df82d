"""`top_up`: adds to the deposit of an open session, from the payer's own tokens, and changes nothing else."""

from dataclasses import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import U64_MAX
from retainer.protocol.events import SessionToppedUp
from retainer.protocol.pda import derive_ata
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Run
from tests.program.harness.errors import Foreign, ProgramError, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import every_kind, row, with_terms
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import token_account
from tests.program.harness.wrong_accounts import wrong_token_accounts


@every_kind
def test_a_top_up_raises_the_deposit_and_moves_exactly_that(run: Run) -> None:
    stage = Stage(run).opened()
    before = stage.account
    outcome = accepted(stage.world, stage.top_up(500_000))

    assert stage.account == replace(before, deposit=BaseUnits(run.deposit + 500_000))
    assert stage.balance(stage.escrow) == run.deposit + 500_000
    assert stage.balance(stage.payer_token) == WALLET - run.deposit - 500_000
    (event,) = stage.events(outcome)
    assert isinstance(event, SessionToppedUp)
    assert (event.session, event.amount, event.deposit) == (stage.session, 500_000, run.deposit + 500_000)


@every_kind
def test_what_was_added_can_be_settled_and_the_rest_is_refunded(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.top_up(500_000))
    accepted(stage.world, stage.top_up(4_000))
    accepted(stage.world, stage.close(1_200_000))
    assert stage.balance(stage.payee_token) == WALLET + 1_200_000
    assert stage.balance(stage.payer_token) == WALLET - 1_200_000


@row("C01", "top up without the payer's signature", twin="the payer signs")
@every_kind
def test_the_payer_must_sign(run: Run) -> None:
    stage = Stage(run).opened()
    refused(stage.world, stage.top_up().unsigned("payer"), Runtime.MISSING_SIGNATURE, twin=stage.top_up())


@every_kind
def test_nobody_else_tops_up(run: Run) -> None:
    """A provider must be able to tell whose money a deposit is, so even a gift comes from the payer."""
    stage = Stage(run).opened()
    honest = stage.top_up()
    attacks = []
    for person in (stage.stranger, stage.payee, stage.sponsor):
        attack = honest.with_account("payer", person.pubkey()).signed_by(person)
        attack = attack.with_account("payer_token", stage.new_wallet(person.pubkey()))
        attacks.append((attack, ProgramError.UNAUTHORIZED_PAYER))
    each_refused(stage.world, attacks, twin=honest)


@every_kind
def test_the_tokens_come_from_an_account_of_the_payers(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.top_up()
    attacks = wrong_token_accounts(stage, honest, "payer_token", stage.payer.pubkey(), ProgramError.WRONG_PAYER_TOKEN)
    each_refused(stage.world, attacks, twin=honest)


@every_kind
def test_any_token_account_of_the_payers_will_do(run: Run) -> None:
    stage = Stage(run).opened()
    second = token_account(run.token, stage.mint, stage.payer.pubkey(), WALLET)
    accepted(stage.world, stage.top_up().with_account("payer_token", stage.put_token("second wallet", second)))


@row("C16", "top up by 0, by more than the wallet holds, or past u64", twin="the rest of the wallet")
@every_kind
def test_the_amount_is_positive_there_and_fits(run: Run) -> None:
    stage = Stage(run).opened()
    rest = WALLET - run.deposit
    attacks = [
        (stage.top_up(0), ProgramError.ZERO_TOP_UP),
        (stage.top_up(rest + 1), Foreign.TOKEN_INSUFFICIENT_FUNDS),
        (stage.top_up(U64_MAX - run.deposit), Foreign.TOKEN_INSUFFICIENT_FUNDS),
        (stage.top_up(U64_MAX - run.deposit + 1), ProgramError.AMOUNT_OVERFLOW),
        (stage.top_up(U64_MAX), ProgramError.AMOUNT_OVERFLOW),
    ]
    each_refused(stage.world, attacks, twin=stage.top_up(rest))


@row(
    "C26", "top up after a close request, hoping to clear the timer", twin="the operator settles what was served before"
)
@every_kind
def test_a_closing_session_takes_no_more(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    closing = stage.account
    refused(stage.world, stage.top_up(), ProgramError.SESSION_NOT_OPEN, twin=stage.settle(240_000))
    assert stage.account.closure_started_at == closing.closure_started_at == stage.world.now


@with_terms
def test_an_expired_session_takes_no_more(run: Run) -> None:
    stage = Stage(run).opened()
    stage.world.set_clock(now=stage.account.expires_at)

    def a_second_earlier() -> Call:
        stage.world.set_clock(now=stage.account.expires_at - 1)
        return stage.top_up()

    refused(stage.world, stage.top_up(), ProgramError.SESSION_EXPIRED, twin=a_second_earlier)


@row("C10", "top up into another session's escrow", twin="into its own")
@every_kind
def test_the_escrow_is_the_sessions_own(run: Run) -> None:
    stage = Stage(run).opened()
    other = Stage(replace(run, salt=8), world=stage.world).opened()
    honest = stage.top_up()
    attacks = [
        (honest.with_account("escrow", wrong), ProgramError.WRONG_ESCROW)
        for wrong in (other.escrow, stage.payee_token, stage.stranger_token)
    ]
    each_refused(stage.world, attacks, twin=honest)


@with_terms
def test_a_stock_top_up_of_a_vault_session_fails_by_name(run: Run) -> None:
    stage = Stage(run).opened()
    stock_escrow = derive_ata(stage.session, stage.mint, run.token.id)
    attack = stage.top_up().with_account("escrow", stock_escrow)
    refused(stage.world, attack, ProgramError.WRONG_ESCROW, twin=stage.top_up())


@row("C33", "a lookalike of the session's mint, and tokens of it", twin="the mint that the session was opened with")
@every_kind
def test_mint_and_token_program_are_the_sessions(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.top_up()
    lookalike = stage.new_mint("lookalike")
    its_tokens = stage.new_wallet(stage.payer.pubkey(), mint=lookalike)
    attacks = [
        (honest.with_account("mint", lookalike), ProgramError.WRONG_MINT),
        (honest.with_account("payer_token", its_tokens), ProgramError.WRONG_PAYER_TOKEN),
        (honest.with_account("mint", lookalike).with_account("payer_token", its_tokens), ProgramError.WRONG_MINT),
        (honest.with_account("token_program", stage.stranger.pubkey()), ProgramError.WRONG_TOKEN_PROGRAM),
    ]
    each_refused(stage.world, attacks, twin=honest)
