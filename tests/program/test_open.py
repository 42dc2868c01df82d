"""`open`, as stock clients build it, and all that it has in common with `open_with_terms`."""

from dataclasses import replace

from retainer.protocol.constants import MAX_GRACE_PERIOD, MIN_GRACE_PERIOD, OPEN_SLOT_WINDOW, U64_MAX
from retainer.protocol.events import SessionOpened
from retainer.protocol.layouts import SESSION_LEN
from retainer.protocol.session import ChainStatus, EscrowKind
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Mode, Run
from tests.program.harness.errors import AnchorError, Foreign, ProgramError, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import every_kind, row, stock
from tests.program.harness.stage import Stage
from tests.program.harness.tokens import AccountState, token_account
from tests.program.harness.world import SOL
from tests.program.harness.wrong_accounts import wrong_token_accounts


@stock
def test_a_stock_open_writes_the_session_and_moves_exactly_the_deposit(run: Run) -> None:
    stage = Stage(run)
    outcome = accepted(stage.world, stage.open())

    account = stage.account
    assert (account.version, account.status, account.escrow_kind) == (1, ChainStatus.OPEN, EscrowKind.ATA)
    assert account.seeds == stage.seeds
    assert account.operator == account.payee == stage.payee.pubkey()
    assert (account.rent_payer, account.escrow) == (stage.sponsor.pubkey(), stage.escrow)
    assert (account.deposit, account.settled, account.charged_units) == (run.deposit, 0, 0)
    assert (account.grace_period, account.decimals) == (run.grace, 6)
    assert (account.opened_at, account.closure_started_at) == (stage.world.now, 0)
    assert (account.price_per_unit, account.expires_at, account.sla_hash) == (0, 0, bytes(32))
    assert stage.balance(stage.payer_token) == WALLET - run.deposit
    assert stage.balance(stage.escrow) == run.deposit
    (event,) = stage.events(outcome)
    assert isinstance(event, SessionOpened)
    assert (event.session, event.deposit) == (stage.session, run.deposit)


@every_kind
def test_the_rent_comes_from_the_rent_payer_and_only_what_is_exempt(run: Run) -> None:
    stage = Stage(run)
    accepted(stage.world, stage.open())
    paid = 10 * SOL - stage.lamports(stage.sponsor.pubkey())
    escrow = stage.world.get(stage.escrow)
    assert escrow is not None
    exempt = stage.world.svm.minimum_balance_for_rent_exemption
    assert paid == exempt(SESSION_LEN) + exempt(len(escrow.data))
    assert stage.lamports(stage.payer.pubkey()) == 10 * SOL


@every_kind
def test_the_payer_may_pay_its_own_rent(run: Run) -> None:
    stage = Stage(replace(run, sponsored=False)).opened()
    assert stage.account.rent_payer == stage.payer.pubkey()


@row("C01", "open without the payer's signature", twin="the payer signs")
@every_kind
def test_the_payer_must_sign(run: Run) -> None:
    stage = Stage(run)
    refused(stage.world, stage.open().unsigned("payer"), Runtime.MISSING_SIGNATURE, twin=stage.open())


@row("C01", "open without the rent payer's signature", twin="the sponsor signs")
@every_kind
def test_the_rent_payer_must_sign(run: Run) -> None:
    stage = Stage(run)
    refused(stage.world, stage.open().unsigned("rent_payer"), Runtime.MISSING_SIGNATURE, twin=stage.open())


@row("C01", "a stranger signs as payer and pays from the payer's tokens", twin="the payer signs for its own tokens")
@every_kind
def test_a_stranger_cannot_open_with_the_payers_tokens(run: Run) -> None:
    stage = Stage(run)
    attack = stage.open(payer=stage.stranger.pubkey()).signed_by(stage.stranger)
    refused(stage.world, attack, ProgramError.WRONG_PAYER_TOKEN, twin=stage.open())


@every_kind
def test_the_deposit_comes_from_a_token_account_of_the_payers(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    attacks = wrong_token_accounts(stage, honest, "payer_token", stage.payer.pubkey(), ProgramError.WRONG_PAYER_TOKEN)
    each_refused(stage.world, attacks, twin=honest)


@every_kind
def test_being_delegate_of_anothers_tokens_is_not_owning_them(run: Run) -> None:
    stage = Stage(run)
    lent = token_account(
        run.token, stage.mint, stage.stranger.pubkey(), WALLET, delegate=stage.payer.pubkey(), delegated=WALLET
    )
    attack = stage.open(payer_token=stage.put_token("lent", lent))
    refused(stage.world, attack, ProgramError.WRONG_PAYER_TOKEN, twin=stage.open())


@every_kind
def test_payer_and_payee_must_differ(run: Run) -> None:
    stage = Stage(run)
    attack = stage.open(payee=stage.payer.pubkey())
    refused(stage.world, attack, ProgramError.PAYER_IS_PAYEE, twin=stage.open())


@every_kind
def test_the_payee_never_pays_the_rent(run: Run) -> None:
    stage = Stage(run)
    attack = stage.open(rent_payer=stage.payee.pubkey()).signed_by(stage.payee)
    refused(stage.world, attack, ProgramError.SPONSOR_HAS_ROLE, twin=stage.open())


@row("C16", "open with deposit 0, u64::MAX, or one more than the wallet holds", twin="the whole wallet is deposited")
@every_kind
def test_the_deposit_is_positive_and_there(run: Run) -> None:
    stage = Stage(run)
    attacks = [
        (stage.open(deposit=0), ProgramError.ZERO_DEPOSIT),
        (stage.open(deposit=WALLET + 1), Foreign.TOKEN_INSUFFICIENT_FUNDS),
        (stage.open(deposit=U64_MAX), Foreign.TOKEN_INSUFFICIENT_FUNDS),
    ]
    each_refused(stage.world, attacks, twin=stage.open(deposit=WALLET))
    assert stage.balance(stage.payer_token) == 0


@row("C25", "grace period 0, one second too short or too long, u32::MAX", twin="the shortest grace period")
@every_kind
def test_the_grace_period_has_both_limits(run: Run) -> None:
    stage = Stage(run)
    wrong = (0, 1, MIN_GRACE_PERIOD - 1, MAX_GRACE_PERIOD + 1, 2**31, 2**32 - 1)
    attacks = [(stage.open(grace_period=grace), ProgramError.GRACE_OUT_OF_RANGE) for grace in wrong]
    each_refused(stage.world, attacks, twin=stage.open(grace_period=MIN_GRACE_PERIOD))


@every_kind
def test_the_longest_grace_period_is_accepted(run: Run) -> None:
    stage = Stage(run)
    accepted(stage.world, stage.open(grace_period=MAX_GRACE_PERIOD))


@row("C43", "a signed open that lands when its open_slot is 1,501 slots old", twin="it lands one slot earlier")
@every_kind
def test_the_open_slot_lies_within_the_window(run: Run) -> None:
    stage = Stage(run)
    now = stage.world.slot
    wrong = (now + 1, now - OPEN_SLOT_WINDOW - 1, 0, U64_MAX)
    attacks = [(stage.open(open_slot=slot), ProgramError.OPEN_SLOT_OUT_OF_WINDOW) for slot in wrong]
    each_refused(stage.world, attacks, twin=stage.open(open_slot=now - OPEN_SLOT_WINDOW))


@stock
def test_splits_are_refused_whatever_follows_their_count(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    one = honest.data[:-4] + (1).to_bytes(4, "little")
    split = bytes(stage.payee.pubkey()) + (10_000).to_bytes(2, "little")
    attacks = [(honest.with_data(data), ProgramError.SPLITS_UNSUPPORTED) for data in (one, one + split)]
    each_refused(stage.world, attacks, twin=honest)


@every_kind
def test_a_voucher_signer_must_be_able_to_sign(run: Run) -> None:
    stage = Stage(run)
    off_curve = stage.escrow
    refused(stage.world, stage.open(authorized_signer=off_curve), ProgramError.SIGNER_OFF_CURVE, twin=stage.open())


@stock
def test_every_program_and_sysvar_is_the_real_one(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    fake = stage.stranger.pubkey()
    reasons = {
        "token_program": ProgramError.WRONG_TOKEN_PROGRAM,
        "system_program": AnchorError.NOT_EXECUTABLE,
        "rent": ProgramError.WRONG_RENT_SYSVAR,
        "ata_program": ProgramError.WRONG_ATA_PROGRAM,
        "event_authority": ProgramError.WRONG_EVENT_AUTHORITY,
        "this_program": ProgramError.WRONG_PROGRAM,
    }
    each_refused(stage.world, [(honest.with_account(slot, fake), why) for slot, why in reasons.items()], twin=honest)


@every_kind
def test_session_and_escrow_are_where_the_seeds_say(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    elsewhere = stage.world.keypair("elsewhere").pubkey()
    attacks = [
        (honest.with_account("session", elsewhere), Runtime.INVALID_SEEDS),
        (honest.with_account("escrow", elsewhere), Runtime.INVALID_SEEDS),
        (honest.with_account("mint", stage.new_mint("other mint")), Runtime.INVALID_SEEDS),
    ]
    each_refused(stage.world, attacks, twin=honest)


@row("C11", "open at a live session's address, with another deposit", twin="another salt opens beside it")
@every_kind
def test_a_live_session_is_not_opened_again(run: Run) -> None:
    stage = Stage(run).opened()
    refused(stage.world, stage.open(deposit=1), Foreign.SYSTEM_ACCOUNT_IN_USE, twin=stage.open(salt=8))


@row("C11", "open the same session twice in one transaction", twin="two salts in one transaction")
@every_kind
def test_one_transaction_does_not_open_a_session_twice(run: Run) -> None:
    stage = Stage(run)
    attack = stage.open().then(stage.open())
    refused(stage.world, attack, Foreign.SYSTEM_ACCOUNT_IN_USE, twin=stage.open().then(stage.open(salt=8)))


@stock
def test_a_payee_that_is_a_program_address_can_be_named(run: Run) -> None:
    """A multisig's vault is off the curve; in metered mode it is the operator too, and signs through its program."""
    stage = Stage(run)
    vault = stage.escrow
    signer = vault if run.mode is Mode.METERED else stage.voucher_key.pubkey()
    accepted(stage.world, stage.open(payee=vault, authorized_signer=signer))


@every_kind
def test_a_frozen_wallet_opens_nothing_until_it_is_thawed(run: Run) -> None:
    stage = Stage(run)
    honest = stage.open()
    frozen = token_account(run.token, stage.mint, stage.payer.pubkey(), WALLET, state=AccountState.FROZEN)
    thawed = token_account(run.token, stage.mint, stage.payer.pubkey(), WALLET)
    stage.world.put(stage.payer_token, frozen)

    def after_thaw() -> Call:
        stage.world.put(stage.payer_token, thawed)
        return honest

    refused(stage.world, honest, ProgramError.TOKEN_ACCOUNT_FROZEN, twin=after_thaw)
