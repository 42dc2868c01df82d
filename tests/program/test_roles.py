"""C46, C47: the key that sponsors holds no role, and a payer that holds two keys gains nothing by it."""

from dataclasses import replace

from tests.program.harness.cast import WALLET, Mode, Opening, Run
from tests.program.harness.errors import AnchorError, ProgramError
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import by_voucher, every_kind, row
from tests.program.harness.stage import Stage


@row(
    "C46",
    "the payer's second key pays the rent and closes with an old voucher",
    twin="the operator closes at what was served",
)
@by_voucher
def test_a_payers_second_key_as_rent_payer_closes_nothing(run: Run) -> None:
    """The rent payer signs the opening, and nothing else ever: its own signature gives it no say over amounts."""
    stage = Stage(run)
    second = stage.sponsor
    accepted(stage.world, stage.open())
    accepted(stage.world, stage.settle(80_000))
    old = stage.voucher(8_000)
    attacks = [
        (stage.settle(80_000, by=second, authorization=old), ProgramError.UNAUTHORIZED_SUBMITTER),
        (stage.close(80_000, by=second, authorization=old), AnchorError.DUPLICATE_WRITABLE),
        (stage.close(80_000, by=stage.payer, authorization=old), ProgramError.UNAUTHORIZED_SUBMITTER),
    ]
    each_refused(stage.world, attacks, twin=stage.close(240_000))
    assert stage.balance(stage.payee_token) == WALLET + 240_000


@row("C46", "payer, payee, operator and rent payer in every forbidden combination", twin="four different keys")
@every_kind
def test_every_forbidden_union_of_roles_is_refused(run: Run) -> None:
    stage = Stage(run)
    payer, payee = stage.payer.pubkey(), stage.payee.pubkey()
    everyone = (stage.payer, stage.payee, stage.operator, stage.sponsor)
    unions = [
        (stage.open(payee=payer), ProgramError.PAYER_IS_PAYEE),
        (stage.open(payee=payer, authorized_signer=payer), ProgramError.PAYER_IS_PAYEE),
        (stage.open(rent_payer=payee), ProgramError.SPONSOR_HAS_ROLE),
    ]
    if run.opening is Opening.TERMS:
        operator = stage.operator.pubkey()
        unions += [
            (stage.open(operator=payer), ProgramError.PAYER_IS_OPERATOR),
            (stage.open(rent_payer=operator), ProgramError.SPONSOR_HAS_ROLE),
            (stage.open(operator=payee, rent_payer=payee), ProgramError.SPONSOR_HAS_ROLE),
            (stage.open(payee=payer, operator=payer), ProgramError.PAYER_IS_PAYEE),
        ]
    attacks = [(call.signed_by(*everyone), why) for call, why in unions]
    each_refused(stage.world, attacks, twin=stage.open())


@row("C47", "a close of another session rides in the transaction that the sponsor co-signs", twin="the opening alone")
@every_kind
def test_a_sponsors_signature_closes_no_session(run: Run) -> None:
    """The sponsor pays fee and rent of an opening that the agent built; the agent appends instructions of its own."""
    victim = Stage(replace(run, salt=8)).opened()
    stage = Stage(run, world=victim.world)
    sponsored = stage.open()
    riders = [
        (victim.settle(480_000, by=stage.sponsor), ProgramError.UNAUTHORIZED_SUBMITTER),
        (victim.close(480_000, by=stage.sponsor), AnchorError.DUPLICATE_WRITABLE),
        (victim.close(0, by=stage.sponsor), AnchorError.DUPLICATE_WRITABLE),
    ]
    other = Stage(replace(run, salt=9), world=victim.world, cast="other ").opened()
    foreign = other.close(0, by=stage.sponsor)
    riders += [(foreign, ProgramError.UNAUTHORIZED_SUBMITTER)]
    attacks = [(sponsored.then(rider), why) for rider, why in riders]
    each_refused(stage.world, attacks, twin=sponsored)
    assert victim.account.settled == 0


@row("C47", "the sponsor's rent is turned to the agent", twin="it comes back to the sponsor")
@every_kind
def test_a_sponsor_gets_back_what_it_paid(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.close()
    attack = honest.with_account("rent_payer", stage.payer.pubkey())
    refused(stage.world, attack, ProgramError.WRONG_RENT_PAYER, twin=honest)


@every_kind
def test_a_sponsor_may_be_the_fee_payer_of_everything(run: Run) -> None:
    stage = Stage(run)
    world = stage.world
    world.send(stage.open().instructions, (stage.payer, stage.sponsor), fee_payer=stage.sponsor).require()
    for call in (stage.top_up(8_000), stage.settle(80_000), stage.close(240_000)):
        world.send(call.instructions, call.signers, fee_payer=stage.sponsor).require()
    assert stage.balance(stage.payee_token) == WALLET + 240_000


def test_mode_follows_from_the_authorized_signer_alone() -> None:
    """In voucher mode the operator alone raises nothing, whoever holds the voucher key."""
    stage = Stage(Run(mode=Mode.VOUCHER)).opened()
    refused(stage.world, stage.settle().alone(), ProgramError.VOUCHER_MISSING, twin=stage.settle())
