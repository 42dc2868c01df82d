"""What happens to a session that exists: rules and effects of everything but opening."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import (
    INSTRUCTIONS_SYSVAR_ID,
    OPEN_SLOT_WINDOW,
    PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    U64_MAX,
)
from retainer.protocol.instruction_data import CloseData, SettleData, TopUpData
from retainer.protocol.session import ChainStatus, SessionAccount
from tests.program.fuzzing.accounts import (
    TOKEN_PROGRAMS,
    P,
    Reasons,
    check_balance,
    check_mint,
    check_moving_mint,
    check_token,
)
from tests.program.fuzzing.model import Asked, Flow, Seen, State
from tests.program.harness.errors import Reason, Runtime

NO_SESSION: Final = (Runtime.ILLEGAL_OWNER, Runtime.ACCOUNT_DATA_TOO_SMALL, Runtime.INVALID_ACCOUNT_DATA)
OWN_REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "escrow": P.WRONG_ESCROW,
        "mint": P.WRONG_MINT,
        "rent_payer": P.WRONG_RENT_PAYER,
        "payer": P.UNAUTHORIZED_PAYER,
    }
)
"""What is said of an account that is not the session's own."""


OPTIONAL: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {"settle": frozenset({"mint"}), "close": frozenset({"mint"}), "withdraw": frozenset({"mint"})}
)
"""Slots in which the program's own address stands for no account."""


def _on_session(asked: Asked, state: State) -> tuple[SessionAccount | None, list[Reason]]:
    """The session, and what its own fields say against the other accounts."""
    session, at = state.sessions.get(asked.accounts["session"]), asked.accounts
    if session is None:
        return None, list(NO_SESSION)
    own = {"escrow": session.escrow, "mint": session.mint, "rent_payer": session.rent_payer, "payer": session.payer}
    left_out = OPTIONAL.get(asked.name, frozenset())
    wrong: list[Reason] = [
        OWN_REASONS[slot]
        for slot, key in own.items()
        if at.get(slot, key) != key and not (slot in left_out and at[slot] == PROGRAM_ID)
    ]
    if at.get("token_program", TOKEN_PROGRAM_ID) not in TOKEN_PROGRAMS:
        wrong.append(P.WRONG_TOKEN_PROGRAM)
    if at.get("instructions", INSTRUCTIONS_SYSVAR_ID) not in (INSTRUCTIONS_SYSVAR_ID, PROGRAM_ID):
        wrong.append(P.WRONG_INSTRUCTIONS_SYSVAR)
    return session, wrong


def top_up_rules(asked: Asked, state: State) -> Reasons:
    """Only an open session before its expiry, only by its payer."""
    args = asked.args
    assert isinstance(args, TopUpData)
    session, wrong = _on_session(asked, state)
    yield from wrong
    if session is None:
        return
    yield from _must_be_open(session)
    if args.amount == 0:
        yield P.ZERO_TOP_UP
    if session.expires_at and state.now >= session.expires_at:
        yield P.SESSION_EXPIRED
    if session.deposit + args.amount > U64_MAX:
        yield P.AMOUNT_OVERFLOW
    yield from check_mint(asked, state)
    yield from check_token(asked, state, "payer_token", asked.accounts["payer"], P.WRONG_PAYER_TOKEN)
    yield from check_token(asked, state, "escrow", asked.accounts["session"], P.ESCROW_TAMPERED)
    yield from check_balance(asked, state, args.amount)


def top_up(asked: Asked, state: State) -> None:
    """The deposit grew."""
    args, address = asked.args, asked.accounts["session"]
    session = state.sessions[address]
    assert isinstance(args, TopUpData)
    assert session is not None
    state.add(asked.accounts["payer_token"], -args.amount)
    state.add(session.escrow, args.amount)
    state.sessions[address] = replace(session, deposit=BaseUnits(session.deposit + args.amount))
    state.flows.append(Flow(address, paid_in=args.amount))


def _must_be_open(session: SessionAccount) -> Reasons:
    if session.status is ChainStatus.CLOSED:
        yield P.SESSION_CLOSED
    if session.status is not ChainStatus.OPEN:
        yield P.SESSION_NOT_OPEN


def request_rules(asked: Asked, state: State) -> Reasons:
    """Only once, only by the payer."""
    session, wrong = _on_session(asked, state)
    yield from wrong
    if session is not None:
        yield from _must_be_open(session)


def request_close(asked: Asked, state: State) -> None:
    """The grace period runs."""
    address = asked.accounts["session"]
    session = state.sessions[address]
    assert session is not None
    state.sessions[address] = replace(session, status=ChainStatus.CLOSING, closure_started_at=state.now)


def claim_rules(asked: Asked, state: State) -> Reasons:
    """What `settle` and `close` have in common."""
    args, at = asked.args, asked.accounts
    assert isinstance(args, SettleData | CloseData)
    session, wrong = _on_session(asked, state)
    yield from wrong
    if session is None:
        return
    if at["submitter"] not in (session.operator, session.payee):
        yield P.UNAUTHORIZED_SUBMITTER
    if session.status is ChainStatus.CLOSED:
        yield P.SESSION_CLOSED
    if args.opened_at != session.opened_at:
        yield P.OPENED_AT_MISMATCH
    yield from _amounts(args, session)
    if args.amount > session.settled:
        if deadline_reached(session, state.now):
            yield P.DEADLINE_PASSED
        yield from _authorization(asked, session, args.amount, state.now)
    asked = _naming_the_mint(asked, session)
    yield from check_moving_mint(asked, state, named=at["mint"] != PROGRAM_ID)
    yield from check_token(asked, state, "payee_token", session.payee, P.WRONG_PAYEE_TOKEN)
    yield from check_token(asked, state, "escrow", at["session"], P.ESCROW_TAMPERED)
    if isinstance(args, CloseData):
        yield from check_token(asked, state, "payer_token", session.payer, P.WRONG_PAYER_TOKEN)


def _naming_the_mint(asked: Asked, session: SessionAccount) -> Asked:
    """What is asked, with the session's mint where it was left out: that of every token account is compared with it."""
    if asked.accounts["mint"] != PROGRAM_ID:
        return asked
    return replace(asked, accounts={**asked.accounts, "mint": session.mint})


def _amounts(args: SettleData | CloseData, session: SessionAccount) -> Reasons:
    if args.amount < session.settled:
        yield P.AMOUNT_BELOW_SETTLED
    if args.amount > session.deposit:
        yield P.AMOUNT_ABOVE_DEPOSIT
    if args.charged_units < session.charged_units:
        yield P.UNITS_DECREASED
    if session.price_per_unit and args.amount != args.charged_units * session.price_per_unit:
        yield P.PRICE_MISMATCH


def _authorization(asked: Asked, session: SessionAccount, amount: int, now: int) -> Reasons:
    if session.authorized_signer == session.operator:
        if asked.accounts["submitter"] != session.operator:
            yield P.NOT_AUTHORIZED
        return
    if asked.accounts["instructions"] != INSTRUCTIONS_SYSVAR_ID:
        yield P.WRONG_INSTRUCTIONS_SYSVAR
    if asked.voucher is None:
        yield P.VOUCHER_MISSING
    else:
        yield from _voucher(asked, asked.voucher, session, amount, now)


def _voucher(asked: Asked, seen: Seen, session: SessionAccount, amount: int, now: int) -> Reasons:
    if not seen.canonical:
        yield P.VOUCHER_MALFORMED
    if seen.signer != session.authorized_signer:
        yield P.VOUCHER_WRONG_SIGNER
    if seen.session != asked.accounts["session"]:
        yield P.VOUCHER_WRONG_SESSION
    if amount > seen.cumulative:
        yield P.VOUCHER_TOO_LOW
    if seen.cumulative > session.deposit:
        yield P.VOUCHER_ABOVE_DEPOSIT
    if seen.expires_at and now >= seen.expires_at:
        yield P.VOUCHER_EXPIRED


def deadline_reached(session: SessionAccount, now: int) -> bool:
    """Whether nothing raises `settled` any more, and anyone may withdraw."""
    starts = [start for start in (session.closure_started_at, session.expires_at) if start]
    return bool(starts) and now >= min(starts) + session.grace_period


def settle(asked: Asked, state: State) -> None:
    """The payee got the difference."""
    args, address = asked.args, asked.accounts["session"]
    session = state.sessions[address]
    assert isinstance(args, SettleData | CloseData)
    assert session is not None
    due = args.amount - session.settled
    state.add(session.escrow, -due)
    state.add(asked.accounts["payee_token"], due)
    state.sessions[address] = replace(session, settled=BaseUnits(args.amount), charged_units=args.charged_units)
    state.flows.append(Flow(address, paid_out=due))


def close(asked: Asked, state: State) -> None:
    """The payee got the difference, the payer the rest."""
    settle(asked, state)
    _drain(asked, state)


def withdraw_rules(asked: Asked, state: State) -> Reasons:
    """From the deadline on; of a closed session, when its window is over."""
    session, wrong = _on_session(asked, state)
    yield from wrong
    if session is None:
        return
    if session.status is ChainStatus.CLOSED:
        if state.slot - session.open_slot <= OPEN_SLOT_WINDOW:
            yield P.WINDOW_NOT_OVER
        return
    if not deadline_reached(session, state.now):
        yield P.DEADLINE_NOT_REACHED
    named = asked.accounts["mint"] != PROGRAM_ID
    asked = _naming_the_mint(asked, session)
    yield from check_moving_mint(asked, state, named=named)
    yield from check_token(asked, state, "payer_token", session.payer, P.WRONG_PAYER_TOKEN)
    yield from check_token(asked, state, "escrow", asked.accounts["session"], P.ESCROW_TAMPERED)


def withdraw(asked: Asked, state: State) -> None:
    """The payer got everything; or the rent of a closed session went back."""
    address = asked.accounts["session"]
    session = state.sessions[address]
    assert session is not None
    if session.status is ChainStatus.CLOSED:
        state.sessions[address] = None
    else:
        _drain(asked, state)


def _drain(asked: Asked, state: State) -> None:
    """Everything in the escrow goes to the payer; the session goes too, unless its vouchers could be used again."""
    address = asked.accounts["session"]
    session = state.sessions[address]
    assert session is not None
    escrow = state.tokens[session.escrow]
    assert escrow is not None
    state.add(asked.accounts["payer_token"], escrow.amount)
    state.tokens[session.escrow] = None
    in_window = state.slot - session.open_slot <= OPEN_SLOT_WINDOW
    kept = session.authorized_signer != session.operator and in_window
    state.sessions[address] = replace(session, status=ChainStatus.CLOSED) if kept else None
    state.flows.append(Flow(address, refunded=escrow.amount))
