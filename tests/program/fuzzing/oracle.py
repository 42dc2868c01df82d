"""What every instruction must do, said a second time: rules as sets of reasons to refuse, effects as new values.

The oracle reads nothing of the program. It is given what is asked (accounts, flags, arguments, the voucher before it) and
the state so far, and says which rules the request breaks; none means that it must land. When several are broken the
program may name any of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    INSTRUCTIONS_SYSVAR_ID,
    MAX_EXPIRY_AHEAD,
    MAX_GRACE_PERIOD,
    MIN_GRACE_PERIOD,
    OPEN_SLOT_WINDOW,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    U64_MAX,
)
from retainer.protocol.instruction_data import CloseData, OpenData, OpenWithTermsData, SettleData, TopUpData
from retainer.protocol.instructions import ACCOUNT_SLOTS
from retainer.protocol.pda import SessionSeeds, derive_ata, derive_event_authority, derive_session, derive_vault
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount
from tests.program.fuzzing.model import Asked, Flow, State, Token
from tests.program.harness.errors import AnchorError, Foreign, ProgramError, Reason, Runtime

P: Final = ProgramError
TOKEN_PROGRAMS: Final = (TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID)
NO_SESSION: Final = (Runtime.ILLEGAL_OWNER, Runtime.ACCOUNT_DATA_TOO_SMALL, Runtime.INVALID_ACCOUNT_DATA)
DECIMALS: Final = 6

session_address = cache(derive_session)
vault_address = cache(derive_vault)
ata_address = cache(derive_ata)

Reasons = Iterator[Reason]


def ask(asked: Asked, state: State) -> frozenset[Reason]:
    """The rules that this request breaks; when there are none, `state` is changed as the request asks."""
    if asked.args is None:
        return frozenset({Runtime.INVALID_INSTRUCTION_DATA, P.SPLITS_UNSUPPORTED, P.UNKNOWN_FLAGS, *_frame(asked)})
    rules, effect = INSTRUCTIONS[asked.name]
    broken = frozenset([*_frame(asked), *rules(asked, state)])
    if not broken:
        effect(asked, state)
    return broken


def _frame(asked: Asked) -> Reasons:
    """What Anchor looks at for every instruction: signatures, rights to write, and accounts that stand in two slots."""
    opening = asked.name.startswith("open")
    for spec in ACCOUNT_SLOTS[asked.name]:
        slot, _, flags = spec.partition("[")
        key = asked.accounts[slot]
        if "s" in flags and key not in asked.signed:
            yield Runtime.MISSING_SIGNATURE
        if "w" in flags and key not in asked.writable:
            yield AnchorError.NOT_WRITABLE
            yield Runtime.MISSING_SIGNATURE
        if "w" in flags:
            for other, address in asked.accounts.items():
                if address == key and other != slot and not (opening and {slot, other} == {"payer", "rent_payer"}):
                    yield AnchorError.DUPLICATE_WRITABLE


def _token(asked: Asked, state: State, slot: str, owner: Pubkey, wrong: Reason) -> Reasons:
    """The slot holds a usable token account of this owner and the asked mint."""
    token = state.tokens.get(asked.accounts[slot])
    if token is None or token.program != asked.accounts["token_program"]:
        yield wrong
        yield P.TOKEN_ACCOUNT_MALFORMED
        return
    if token.frozen:
        yield P.TOKEN_ACCOUNT_FROZEN
    if token.mint != asked.accounts["mint"] or token.owner != owner:
        yield wrong


def _mint(asked: Asked, state: State) -> Reasons:
    """The mint is one, and the token program its own."""
    program, mint = asked.accounts["token_program"], asked.accounts["mint"]
    if program not in TOKEN_PROGRAMS:
        yield P.WRONG_TOKEN_PROGRAM
    if mint not in state.mints:
        yield P.WRONG_MINT
        yield P.WRONG_TOKEN_PROGRAM  # another account of a token program's
    elif state.mints[mint] != program:
        yield P.WRONG_TOKEN_PROGRAM


# --- opening -----------------------------------------------------------------------------------------------------------


def _opening(asked: Asked, state: State) -> Reasons:
    args, at = asked.args, asked.accounts
    assert isinstance(args, OpenData | OpenWithTermsData)
    terms = args if isinstance(args, OpenWithTermsData) else None
    payer, payee, rent_payer = at["payer"], at["payee"], at["rent_payer"]
    operator = at["operator"] if terms else payee
    if payer == payee:
        yield P.PAYER_IS_PAYEE
    if payer == operator:
        yield P.PAYER_IS_OPERATOR
    if rent_payer in (operator, payee):
        yield P.SPONSOR_HAS_ROLE
    if at["authorized_signer"] != operator and not at["authorized_signer"].is_on_curve():
        yield P.SIGNER_OFF_CURVE
    if args.deposit == 0:
        yield P.ZERO_DEPOSIT
    if not MIN_GRACE_PERIOD <= args.grace_period <= MAX_GRACE_PERIOD:
        yield P.GRACE_OUT_OF_RANGE
    if not 0 <= state.slot - args.open_slot <= OPEN_SLOT_WINDOW:
        yield P.OPEN_SLOT_OUT_OF_WINDOW
    if terms and terms.price_per_unit > terms.deposit:
        yield P.PRICE_ABOVE_DEPOSIT
    if terms and terms.expires_at and not 0 < terms.expires_at - state.now <= MAX_EXPIRY_AHEAD:
        yield P.EXPIRY_OUT_OF_RANGE
    yield from _fixed_accounts(asked)
    yield from _mint(asked, state)
    yield from _token(asked, state, "payer_token", payer, P.WRONG_PAYER_TOKEN)
    yield from _enough(asked, state, args.deposit)
    session = session_address(_seeds(asked, args))[0]
    if at["session"] != session or at["escrow"] != _escrow_of(asked, session):
        yield Runtime.INVALID_SEEDS
    if state.sessions.get(at["session"]) is not None:
        yield Foreign.SYSTEM_ACCOUNT_IN_USE


def _fixed_accounts(asked: Asked) -> Reasons:
    for slot, (address, reasons) in FIXED.items():
        if asked.accounts.get(slot, address) != address:
            yield from reasons


def _enough(asked: Asked, state: State, amount: int) -> Reasons:
    token = state.tokens.get(asked.accounts["payer_token"])
    if token is not None and token.amount < amount:
        yield Foreign.TOKEN_INSUFFICIENT_FUNDS


def _seeds(asked: Asked, args: OpenData | OpenWithTermsData) -> SessionSeeds:
    at = asked.accounts
    return SessionSeeds(at["payer"], at["payee"], at["mint"], at["authorized_signer"], args.salt, args.open_slot)


def _escrow_of(asked: Asked, session: Pubkey) -> Pubkey:
    if asked.name == "open_with_terms":
        return vault_address(session)[0]
    return ata_address(session, asked.accounts["mint"], asked.accounts["token_program"])


def _open(asked: Asked, state: State) -> None:
    args, at = asked.args, asked.accounts
    assert isinstance(args, OpenData | OpenWithTermsData)
    terms = args if isinstance(args, OpenWithTermsData) else None
    session, escrow = at["session"], at["escrow"]
    assert state.tokens.get(escrow) is None, "nobody else makes a token account at an escrow's address"
    state.add(at["payer_token"], -args.deposit)
    state.tokens[escrow] = Token(at["token_program"], at["mint"], session, args.deposit)
    state.sessions[session] = SessionAccount(
        version=1,
        bump=session_address(_seeds(asked, args))[1],
        status=ChainStatus.OPEN,
        escrow_kind=EscrowKind.VAULT if terms else EscrowKind.ATA,
        decimals=DECIMALS,
        payer=at["payer"],
        payee=at["payee"],
        operator=at["operator"] if terms else at["payee"],
        authorized_signer=at["authorized_signer"],
        rent_payer=at["rent_payer"],
        mint=at["mint"],
        escrow=escrow,
        salt=args.salt,
        open_slot=args.open_slot,
        deposit=BaseUnits(args.deposit),
        settled=BaseUnits(0),
        charged_units=0,
        grace_period=args.grace_period,
        opened_at=state.now,
        closure_started_at=0,
        price_per_unit=BaseUnits(terms.price_per_unit if terms else 0),
        expires_at=terms.expires_at if terms else 0,
        sla_hash=terms.sla_hash if terms else bytes(32),
    )
    state.flows.append(Flow(session, paid_in=args.deposit))


# --- a session that exists ---------------------------------------------------------------------------------------------


def _on_session(asked: Asked, state: State) -> tuple[SessionAccount | None, list[Reason]]:
    """The session, and what its own fields say against the other accounts."""
    session, at = state.sessions.get(asked.accounts["session"]), asked.accounts
    if session is None:
        return None, list(NO_SESSION)
    own = {"escrow": session.escrow, "mint": session.mint, "rent_payer": session.rent_payer, "payer": session.payer}
    wrong: list[Reason] = [OWN_REASONS[slot] for slot, key in own.items() if at.get(slot, key) != key]
    if at.get("token_program", TOKEN_PROGRAM_ID) not in TOKEN_PROGRAMS:
        wrong.append(P.WRONG_TOKEN_PROGRAM)
    if at.get("instructions", INSTRUCTIONS_SYSVAR_ID) != INSTRUCTIONS_SYSVAR_ID:
        wrong.append(P.WRONG_INSTRUCTIONS_SYSVAR)
    return session, wrong


def _top_up_rules(asked: Asked, state: State) -> Reasons:
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
    yield from _mint(asked, state)
    yield from _token(asked, state, "payer_token", asked.accounts["payer"], P.WRONG_PAYER_TOKEN)
    yield from _token(asked, state, "escrow", asked.accounts["session"], P.ESCROW_TAMPERED)
    yield from _enough(asked, state, args.amount)


def _top_up(asked: Asked, state: State) -> None:
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


def _request_rules(asked: Asked, state: State) -> Reasons:
    session, wrong = _on_session(asked, state)
    yield from wrong
    if session is not None:
        yield from _must_be_open(session)


def _request(asked: Asked, state: State) -> None:
    address = asked.accounts["session"]
    session = state.sessions[address]
    assert session is not None
    state.sessions[address] = replace(session, status=ChainStatus.CLOSING, closure_started_at=state.now)


def _claim_rules(asked: Asked, state: State) -> Reasons:
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
    if args.amount < session.settled:
        yield P.AMOUNT_BELOW_SETTLED
    if args.amount > session.deposit:
        yield P.AMOUNT_ABOVE_DEPOSIT
    if args.charged_units < session.charged_units:
        yield P.UNITS_DECREASED
    if session.price_per_unit and args.amount != args.charged_units * session.price_per_unit:
        yield P.PRICE_MISMATCH
    if args.amount > session.settled:
        if _deadline_reached(session, state.now):
            yield P.DEADLINE_PASSED
        yield from _authorization(asked, session, args.amount, state.now)
    yield from _mint(asked, state)
    yield from _token(asked, state, "payee_token", session.payee, P.WRONG_PAYEE_TOKEN)
    yield from _token(asked, state, "escrow", at["session"], P.ESCROW_TAMPERED)
    if isinstance(args, CloseData):
        yield from _token(asked, state, "payer_token", session.payer, P.WRONG_PAYER_TOKEN)


def _authorization(asked: Asked, session: SessionAccount, amount: int, now: int) -> Reasons:
    if session.authorized_signer == session.operator:
        if asked.accounts["submitter"] != session.operator:
            yield P.NOT_AUTHORIZED
        return
    seen = asked.voucher
    if seen is None:
        yield P.VOUCHER_MISSING
        return
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


def _deadline_reached(session: SessionAccount, now: int) -> bool:
    starts = [start for start in (session.closure_started_at, session.expires_at) if start]
    return bool(starts) and now >= min(starts) + session.grace_period


def _settle(asked: Asked, state: State) -> None:
    args, address = asked.args, asked.accounts["session"]
    session = state.sessions[address]
    assert isinstance(args, SettleData | CloseData)
    assert session is not None
    due = args.amount - session.settled
    state.add(session.escrow, -due)
    state.add(asked.accounts["payee_token"], due)
    state.sessions[address] = replace(session, settled=BaseUnits(args.amount), charged_units=args.charged_units)
    state.flows.append(Flow(address, paid_out=due))


def _close(asked: Asked, state: State) -> None:
    _settle(asked, state)
    _drain(asked, state)


def _withdraw_rules(asked: Asked, state: State) -> Reasons:
    session, wrong = _on_session(asked, state)
    yield from wrong
    if session is None:
        return
    if session.status is ChainStatus.CLOSED:
        if state.slot - session.open_slot <= OPEN_SLOT_WINDOW:
            yield P.WINDOW_NOT_OVER
        return
    if not _deadline_reached(session, state.now):
        yield P.DEADLINE_NOT_REACHED
    yield from _mint(asked, state)
    yield from _token(asked, state, "payer_token", session.payer, P.WRONG_PAYER_TOKEN)
    yield from _token(asked, state, "escrow", asked.accounts["session"], P.ESCROW_TAMPERED)


def _withdraw(asked: Asked, state: State) -> None:
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


FIXED: Final[Mapping[str, tuple[Pubkey, tuple[Reason, ...]]]] = MappingProxyType(
    {
        "system_program": (SYSTEM_PROGRAM_ID, (AnchorError.NOT_EXECUTABLE, Runtime.INCORRECT_PROGRAM)),
        "rent": (RENT_SYSVAR_ID, (P.WRONG_RENT_SYSVAR,)),
        "ata_program": (ATA_PROGRAM_ID, (P.WRONG_ATA_PROGRAM,)),
        "event_authority": (derive_event_authority(), (P.WRONG_EVENT_AUTHORITY,)),
        "program": (PROGRAM_ID, (P.WRONG_PROGRAM,)),
    }
)
OWN_REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "escrow": P.WRONG_ESCROW,
        "mint": P.WRONG_MINT,
        "rent_payer": P.WRONG_RENT_PAYER,
        "payer": P.UNAUTHORIZED_PAYER,
    }
)
Rules = Callable[[Asked, State], Reasons]
Effect = Callable[[Asked, State], None]
INSTRUCTIONS: Final[Mapping[str, tuple[Rules, Effect]]] = MappingProxyType(
    {
        "open": (_opening, _open),
        "open_with_terms": (_opening, _open),
        "top_up": (_top_up_rules, _top_up),
        "settle": (_claim_rules, _settle),
        "close": (_claim_rules, _close),
        "request_close": (_request_rules, _request),
        "withdraw": (_withdraw_rules, _withdraw),
    }
)
