"""Liveness: from a session's present state the payer alone gets its money back, and the operator alone what it is due.

Both are tried for real, in a sandbox that afterwards puts chain, clock, state and books back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from solders.account import Account
from solders.pubkey import Pubkey

from retainer.protocol.constants import OPEN_SLOT_WINDOW, SYSTEM_PROGRAM_ID
from retainer.protocol.session import ChainStatus, SessionAccount
from tests.program.fuzzing import honest
from tests.program.fuzzing.arena import keypair
from tests.program.fuzzing.drafts import Draft, VoucherDraft
from tests.program.fuzzing.duel import Duel, MismatchError, Tally
from tests.program.fuzzing.honest import Claim
from tests.program.fuzzing.living import deadline_reached
from tests.program.fuzzing.model import Token

FRESH: Final = keypair("a wallet that nobody used before").pubkey()
GONE: Final = Account(0, b"", SYSTEM_PROGRAM_ID, executable=False, rent_epoch=0)


@contextmanager
def sandbox(duel: Duel, address: Pubkey, session: SessionAccount) -> Iterator[None]:
    """Whatever is done to this session and the fresh wallet inside is undone afterwards."""
    arena, state = duel.arena, duel.arena.state
    keys = (address, session.escrow, session.rent_payer, session.payer, session.operator, arena.cast.fees, FRESH)
    saved = {key: arena.get(key) or GONE for key in keys}
    kept = (duel.tally, dict(duel.books), list(duel.ended), duel.ceilings.copy())
    duel.tally = Tally()
    arena.state = state.fork()
    try:
        yield
    finally:
        for key, account in saved.items():
            arena.svm.set_account(key, account)
        arena.state = state
        arena.jump()
        duel.tally, duel.books, duel.ended, duel.ceilings = kept


def check_exits(duel: Duel, address: Pubkey) -> int:
    """Tries both exits of one session. Returns how many there were to try; MismatchError when one is closed."""
    session = duel.arena.state.sessions[address]
    assert session is not None
    with sandbox(duel, address, session):
        _payer_leaves(duel, address, session)
    if session.status is ChainStatus.CLOSED or deadline_reached(session, duel.arena.state.now):
        return 1
    with sandbox(duel, address, session):
        _operator_collects(duel, address, session)
    return 2


def _payer_leaves(duel: Duel, address: Pubkey, session: SessionAccount) -> None:
    """Close request if there is no deadline yet, then a withdrawal at the deadline to a wallet of its own."""
    arena = duel.arena
    escrow = arena.state.tokens.get(session.escrow)
    if session.status is ChainStatus.CLOSED:
        arena.jump(slot=max(arena.state.slot, session.open_slot + OPEN_SLOT_WINDOW + 1))
    else:
        starts = [start for start in (session.closure_started_at, session.expires_at) if start]
        if not starts:
            _must_land(duel, honest.request_close(address, session), "ask to close")
            starts = [arena.state.now]
        arena.jump(now=max(arena.state.now, min(starts) + session.grace_period))
    _fresh_wallet(duel, session, session.payer)
    _must_land(duel, honest.withdraw(arena, address, session, FRESH), "withdraw")
    received = arena.state.tokens[FRESH]
    assert received is not None
    owed = 0 if session.status is ChainStatus.CLOSED else session.deposit - session.settled
    if received.amount != (escrow.amount if escrow else 0) or received.amount < owed:
        raise MismatchError(f"the payer of {address} got {received.amount} back, not {owed} or more")


def _operator_collects(duel: Duel, address: Pubkey, session: SessionAccount) -> None:
    """Everything that is authorized by now, to a wallet of the payee's."""
    arena = duel.arena
    metered = session.authorized_signer == session.operator
    ceiling = duel.ceilings[address, session.authorized_signer]
    voucher = None
    if not metered and 0 < ceiling <= session.deposit and ceiling > session.settled:
        signer = session.authorized_signer
        voucher = VoucherDraft(signer, arena.cast.signers[signer], address, ceiling)
    authorized = session.deposit if metered else ceiling if voucher else session.settled
    units, amount = session.charged_units, authorized
    if session.price_per_unit:
        units = authorized // session.price_per_unit
        amount = units * session.price_per_unit
    _fresh_wallet(duel, session, session.payee)
    claim = Claim(amount=amount, units=units, by=session.operator, voucher=voucher)
    _must_land(duel, honest.settle(arena, address, session, claim, FRESH), "settle")
    received = arena.state.tokens[FRESH]
    assert received is not None
    if received.amount != amount - session.settled:
        raise MismatchError(f"the payee of {address} got {received.amount}, not {amount - session.settled}")


def _fresh_wallet(duel: Duel, session: SessionAccount, owner: Pubkey) -> None:
    program = duel.arena.mints[session.mint].id
    duel.arena.svm.set_account(FRESH, GONE)
    duel.arena.put_token(FRESH, Token(program, session.mint, owner, 0))


def _must_land(duel: Duel, draft: Draft, what: str) -> None:
    if not duel.send([draft]):
        raise MismatchError(f"no way out: cannot {what}")
