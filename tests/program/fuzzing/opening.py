"""What opens a session: rules and effect of `open` and `open_with_terms`."""

from functools import cache
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import MAX_EXPIRY_AHEAD, MAX_GRACE_PERIOD, MIN_GRACE_PERIOD, OPEN_SLOT_WINDOW
from retainer.protocol.instruction_data import OpenData, OpenWithTermsData
from retainer.protocol.pda import SessionSeeds, derive_ata, derive_session, derive_vault
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount
from tests.program.fuzzing.accounts import P, Reasons, check_balance, check_fixed, check_mint, check_token
from tests.program.fuzzing.model import Asked, Flow, State, Token
from tests.program.harness.errors import Foreign, Runtime

DECIMALS: Final = 6

session_address = cache(derive_session)
vault_address = cache(derive_vault)
ata_address = cache(derive_ata)


def opening_rules(asked: Asked, state: State) -> Reasons:
    """What both ways in have in common, and the terms where there are some."""
    args, at = asked.args, asked.accounts
    assert isinstance(args, OpenData | OpenWithTermsData)
    yield from _roles(asked)
    yield from _terms(args, state)
    yield from check_fixed(asked)
    yield from check_mint(asked, state)
    yield from check_token(asked, state, "payer_token", at["payer"], P.WRONG_PAYER_TOKEN)
    yield from check_balance(asked, state, args.deposit)
    session = session_address(_seeds(asked, args))[0]
    if at["session"] != session or at["escrow"] != _escrow_of(asked, session):
        yield Runtime.INVALID_SEEDS
    if state.sessions.get(at["session"]) is not None:
        yield Foreign.SYSTEM_ACCOUNT_IN_USE


def _roles(asked: Asked) -> Reasons:
    at = asked.accounts
    operator = at.get("operator", at["payee"])
    if at["payer"] == at["payee"]:
        yield P.PAYER_IS_PAYEE
    if at["payer"] == operator:
        yield P.PAYER_IS_OPERATOR
    if at["rent_payer"] in (operator, at["payee"]):
        yield P.SPONSOR_HAS_ROLE
    if at["authorized_signer"] != operator and not at["authorized_signer"].is_on_curve():
        yield P.SIGNER_OFF_CURVE


def _terms(args: OpenData | OpenWithTermsData, state: State) -> Reasons:
    if args.deposit == 0:
        yield P.ZERO_DEPOSIT
    if not MIN_GRACE_PERIOD <= args.grace_period <= MAX_GRACE_PERIOD:
        yield P.GRACE_OUT_OF_RANGE
    if not 0 <= state.slot - args.open_slot <= OPEN_SLOT_WINDOW:
        yield P.OPEN_SLOT_OUT_OF_WINDOW
    if isinstance(args, OpenWithTermsData):
        if args.price_per_unit > args.deposit:
            yield P.PRICE_ABOVE_DEPOSIT
        if args.expires_at and not 0 < args.expires_at - state.now <= MAX_EXPIRY_AHEAD:
            yield P.EXPIRY_OUT_OF_RANGE


def _seeds(asked: Asked, args: OpenData | OpenWithTermsData) -> SessionSeeds:
    at = asked.accounts
    return SessionSeeds(at["payer"], at["payee"], at["mint"], at["authorized_signer"], args.salt, args.open_slot)


def _escrow_of(asked: Asked, session: Pubkey) -> Pubkey:
    if asked.name == "open_with_terms":
        return vault_address(session)[0]
    return ata_address(session, asked.accounts["mint"], asked.accounts["token_program"])


def open_session(asked: Asked, state: State) -> None:
    """The deposit is in the escrow, and the session says so."""
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
