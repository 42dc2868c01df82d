"""What is asked of accounts, whichever instruction they stand in."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    PROGRAM_ID,
    RENT_SYSVAR_ID,
    SYSTEM_PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
)
from retainer.protocol.pda import derive_event_authority
from tests.program.fuzzing.model import Asked, State
from tests.program.harness.errors import AnchorError, Foreign, ProgramError, Reason, Runtime

P: Final = ProgramError
TOKEN_PROGRAMS: Final = (TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID)

Reasons = Iterator[Reason]

FIXED: Final[Mapping[str, tuple[Pubkey, tuple[Reason, ...]]]] = MappingProxyType(
    {
        "system_program": (SYSTEM_PROGRAM_ID, (AnchorError.NOT_EXECUTABLE, Runtime.INCORRECT_PROGRAM)),
        "rent": (RENT_SYSVAR_ID, (P.WRONG_RENT_SYSVAR,)),
        "ata_program": (ATA_PROGRAM_ID, (P.WRONG_ATA_PROGRAM,)),
        "event_authority": (derive_event_authority(), (P.WRONG_EVENT_AUTHORITY,)),
        "this_program": (PROGRAM_ID, (P.WRONG_PROGRAM,)),
    }
)


def check_token(asked: Asked, state: State, slot: str, owner: Pubkey, wrong: Reason) -> Reasons:
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


def check_mint(asked: Asked, state: State) -> Reasons:
    """The mint is one, and the token program its own."""
    program, mint = asked.accounts["token_program"], asked.accounts["mint"]
    if program not in TOKEN_PROGRAMS:
        yield P.WRONG_TOKEN_PROGRAM
    if mint not in state.mints:
        yield P.WRONG_MINT
        yield P.WRONG_TOKEN_PROGRAM  # another account of a token program's
    elif state.mints[mint] != program:
        yield P.WRONG_TOKEN_PROGRAM


def check_moving_mint(asked: Asked, state: State, *, named: bool) -> Reasons:
    """The same where tokens leave an escrow; SPL Token can do without it."""
    if not named and asked.accounts["token_program"] != TOKEN_PROGRAM_ID:
        yield P.MINT_MISSING
    yield from check_mint(asked, state)


def check_balance(asked: Asked, state: State, amount: int) -> Reasons:
    token = state.tokens.get(asked.accounts["payer_token"])
    if token is not None and token.amount < amount:
        yield Foreign.TOKEN_INSUFFICIENT_FUNDS


def check_fixed(asked: Asked) -> Reasons:
    for slot, (address, reasons) in FIXED.items():
        if asked.accounts.get(slot, address) != address:
            yield from reasons
