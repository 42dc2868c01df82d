"""C18, C19, C48: nothing pays twice: not a replay, not a revived account, not a second session at an old address."""

from dataclasses import replace

from solders.system_program import TransferParams, transfer

from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.session import ChainStatus
from tests.program.harness.calls import Call
from tests.program.harness.cast import WALLET, Mode, Run
from tests.program.harness.errors import Foreign, ProgramError, Runtime
from tests.program.harness.judge import accepted, each_refused, refused
from tests.program.harness.marks import by_voucher, every_kind, metered, row
from tests.program.harness.stage import Stage

RENT = 10_000_000
"""Lamports enough to keep any account of ours alive."""


def fresh(stage: Stage, salt: int = 8) -> Stage:
    """Another session of the same people, as the place where the honest twin lands."""
    return Stage(replace(stage.run, salt=salt), world=stage.world).opened()


def gone_reason(run: Run) -> ProgramError | Runtime:
    """Why an instruction on a session that was just closed is refused."""
    return ProgramError.SESSION_CLOSED if run.mode is Mode.VOUCHER else Runtime.ACCOUNT_DATA_TOO_SMALL


@row("C18", "the same settle again, in a second transaction and twice in one", twin="the next higher amount")
@every_kind
def test_a_settle_pays_once_however_often_it_lands(run: Run) -> None:
    stage = Stage(run).opened()
    settle = stage.settle(240_000)
    accepted(stage.world, settle.then(settle))
    accepted(stage.world, settle)
    accepted(stage.world, stage.settle(240_000).alone())
    assert stage.balance(stage.payee_token) == WALLET + 240_000
    accepted(stage.world, stage.settle(248_000))
    assert stage.balance(stage.payee_token) == WALLET + 248_000


@row(
    "C18",
    "two different settles in one transaction, the lower one last",
    twin="the higher one last: their maximum is paid",
)
@every_kind
def test_settles_racing_in_one_slot_pay_their_maximum(run: Run) -> None:
    stage = Stage(run).opened()
    low, high = stage.settle(80_000), stage.settle(240_000)
    refused(stage.world, high.then(low), ProgramError.AMOUNT_BELOW_SETTLED, twin=low.then(high))
    assert stage.balance(stage.payee_token) == WALLET + 240_000


@row("C18", "the same close again, in a second transaction or twice in one", twin="the close of another session")
@every_kind
def test_a_close_pays_once(run: Run) -> None:
    stage = Stage(run).opened()
    other = fresh(stage)
    close = stage.close()
    refused(stage.world, close.then(close), gone_reason(run), twin=close)
    refused(stage.world, close, gone_reason(run), twin=other.close())
    assert stage.balance(stage.payee_token) == WALLET + 2 * 240_000
    assert stage.balance(stage.payer_token) == WALLET - 2 * 240_000


@row("C18", "withdraw twice", twin="withdraw another session")
@every_kind
def test_a_withdrawal_pays_once(run: Run) -> None:
    stage = Stage(run).opened()
    other = fresh(stage)
    for one in (stage, other):
        accepted(stage.world, one.request_close())
    stage.world.warp(seconds=run.grace)
    withdraw = stage.withdraw()
    why = ProgramError.WINDOW_NOT_OVER if run.mode is Mode.VOUCHER else Runtime.ACCOUNT_DATA_TOO_SMALL
    refused(stage.world, withdraw.then(withdraw), why, twin=withdraw)
    refused(stage.world, withdraw, why, twin=other.withdraw())
    assert stage.balance(stage.payer_token) == WALLET


@row("C19", "close, then refund lamports to the session in the same transaction and use it again", twin="close alone")
@every_kind
def test_a_session_does_not_live_on_revived_lamports(run: Run) -> None:
    stage = Stage(run).opened()
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    revive = transfer(TransferParams(from_pubkey=stage.stranger.pubkey(), to_pubkey=stage.session, lamports=RENT))
    close = stage.close()
    attacks = [
        (close.then(revive, again).signed_by(stage.stranger), Runtime.ACCOUNT_DATA_TOO_SMALL)
        for again in (stage.settle(480_000), stage.close(480_000), stage.withdraw(), stage.top_up())
    ]
    each_refused(stage.world, attacks, twin=close)
    assert stage.gone


@row("C19", "close, refund lamports to the session, use it in a later transaction", twin="another session's close")
@every_kind
def test_lamports_sent_to_a_closed_address_are_no_session(run: Run) -> None:
    stage = Stage(run).opened()
    other = fresh(stage)
    stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
    again = (stage.settle(480_000), stage.close(480_000), stage.withdraw(), stage.top_up(), stage.request_close())
    revive = transfer(TransferParams(from_pubkey=stage.stranger.pubkey(), to_pubkey=stage.session, lamports=RENT))
    accepted(stage.world, stage.close().then(revive).signed_by(stage.stranger))
    account = stage.world.get(stage.session)
    assert account is not None
    assert account.data == b""
    each_refused(stage.world, [(call, Runtime.ACCOUNT_DATA_TOO_SMALL) for call in again], twin=other.close())


@row(
    "C19",
    "a voucher session opened again at its address, in the same transaction or later in the window",
    twin="another salt",
)
@row("C48", "the address opened again right after close, old vouchers replayed", twin="another salt")
@by_voucher
def test_a_voucher_sessions_address_does_not_serve_twice_in_the_window(run: Run) -> None:
    stage = Stage(run).opened()
    reopen = stage.open()
    refused(stage.world, stage.close().then(reopen), Foreign.SYSTEM_ACCOUNT_IN_USE, twin=stage.close())
    stage.world.set_clock(slot=stage.open_slot + OPEN_SLOT_WINDOW)
    refused(stage.world, reopen, Foreign.SYSTEM_ACCOUNT_IN_USE, twin=stage.open(salt=8))


@row("C19", "a voucher session opened again at its address after the window", twin="a session with a recent slot")
@by_voucher
def test_a_voucher_sessions_address_does_not_serve_twice_after_the_window(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.close())
    stage.world.set_clock(slot=stage.open_slot + OPEN_SLOT_WINDOW + 1)
    reopen, later = stage.open(), stage.open(open_slot=stage.world.slot)
    refused(stage.world, reopen, Foreign.SYSTEM_ACCOUNT_IN_USE, twin=stage.withdraw())
    assert stage.gone
    refused(stage.world, reopen, ProgramError.OPEN_SLOT_OUT_OF_WINDOW, twin=later)


@row("C48", "a withdrawn voucher session opened again at its address inside the window", twin="another salt")
@by_voucher
def test_a_withdrawn_voucher_sessions_address_stays_taken(run: Run) -> None:
    stage = Stage(run).opened()
    accepted(stage.world, stage.request_close())
    stage.world.warp(seconds=run.grace)
    accepted(stage.world, stage.withdraw())
    assert stage.account.status is ChainStatus.CLOSED
    refused(stage.world, stage.open(), Foreign.SYSTEM_ACCOUNT_IN_USE, twin=stage.open(salt=8))


@row("C48", "a stale settlement on a metered session opened again at the same address", twin="one for the new session")
@metered
def test_a_stale_settlement_does_not_fit_the_next_session_at_its_address(run: Run) -> None:
    """In metered mode no voucher can be replayed, so the address may serve again; `opened_at` tells them apart."""
    stage = Stage(run).opened()
    stale: tuple[Call, ...] = (stage.settle(480_000), stage.close(480_000), stage.close(0))
    accepted(stage.world, stage.close())
    stage.world.warp(seconds=1, slots=2)
    accepted(stage.world, stage.open())
    assert (stage.account.settled, stage.account.charged_units) == (0, 0)
    attacks = [(call, ProgramError.OPENED_AT_MISMATCH) for call in stale]
    each_refused(stage.world, attacks, twin=stage.close())


@row("C19", "a token account made again at a closed session's escrow, to be paid out of", twin="the rent is returned")
@by_voucher
def test_an_escrow_made_again_after_the_close_pays_nobody(run: Run) -> None:
    stage = Stage(run).opened()
    settle, close = stage.settle(480_000), stage.close(480_000)
    old = stage.world.get(stage.escrow)
    assert old is not None
    accepted(stage.world, stage.close())
    stage.world.put(stage.escrow, old)
    attacks = [(call, ProgramError.SESSION_CLOSED) for call in (settle, close)]

    def after_the_window() -> Call:
        stage.world.warp(slots=OPEN_SLOT_WINDOW + 1)
        return stage.withdraw()

    each_refused(stage.world, attacks, twin=after_the_window)
    assert stage.balance(stage.escrow) == run.deposit
