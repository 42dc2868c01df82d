"""Reading sessions and token balances, trusting nothing but owner, layout and derivation."""

import contextlib
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain, Commitment
from retainer.chain.errors import ForeignAccountError
from retainer.protocol.constants import PROGRAM_ID, TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.errors import LayoutError
from retainer.protocol.layouts import (
    SESSION_OPERATOR_OFFSET,
    TokenAccount,
    decode_session,
    decode_token_account,
)
from retainer.protocol.pda import derive_session
from retainer.protocol.session import SessionAccount

# What one call for many accounts may ask for.
_PAGE: Final = 100


async def session_account(
    chain: Chain,
    address: Pubkey,
    *,
    program_id: Pubkey = PROGRAM_ID,
    commitment: Commitment = Commitment.CONFIRMED,
    min_slot: int | None = None,
) -> SessionAccount | None:
    """The session at `address`, or None where no account is; ForeignAccountError when it is anything else."""
    info = await chain.account(address, commitment=commitment, min_slot=min_slot)
    return None if info is None else read_session(info, program_id)


async def sessions_of(
    chain: Chain,
    operator: Pubkey,
    *,
    program_id: Pubkey = PROGRAM_ID,
    commitment: Commitment = Commitment.CONFIRMED,
) -> dict[Pubkey, SessionAccount]:
    """All sessions on chain that an operator may settle, by address. What is no session is left out.

    A search is answered by one node; what it finds is read again as any account is, so that it cannot be made up.
    """
    found = await chain.program_accounts(
        program_id, offset=SESSION_OPERATOR_OFFSET, key=operator, commitment=commitment
    )
    sessions = {}
    for page in range(0, len(found), _PAGE):
        addresses = [info.address for info in found[page : page + _PAGE]]
        for info in await chain.accounts(addresses, commitment=commitment):
            with contextlib.suppress(ForeignAccountError):
                if info is not None and (session := read_session(info, program_id)).operator == operator:
                    sessions[info.address] = session
    return sessions


def read_session(info: AccountInfo, program_id: Pubkey = PROGRAM_ID) -> SessionAccount:
    """The session that an account holds.

    A byte-identical account of another program, and one whose fields derive another address (so that it is not the
    session that its address promises), are refused with ForeignAccountError.
    """
    if info.owner != program_id:
        raise ForeignAccountError(f"{info.address} belongs to {info.owner}, not to the session program {program_id}")
    try:
        session = decode_session(info.data)
    except LayoutError as error:
        raise ForeignAccountError(f"{info.address} is no session: {error}") from None
    derived, bump = derive_session(session.seeds, program_id)
    if (derived, bump) != (info.address, session.bump):
        raise ForeignAccountError(f"{info.address} holds the session of another address, {derived}")
    return session


async def token_account(
    chain: Chain, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED, min_slot: int | None = None
) -> TokenAccount | None:
    """The token account at `address`, or None where no account is; ForeignAccountError when it is anything else."""
    info = await chain.account(address, commitment=commitment, min_slot=min_slot)
    return None if info is None else read_token_account(info)


def read_token_account(info: AccountInfo) -> TokenAccount:
    """The token account that an account of either token program holds; ForeignAccountError when it holds none."""
    if info.owner not in (TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID):
        raise ForeignAccountError(f"{info.address} belongs to {info.owner}, not to a token program")
    try:
        return decode_token_account(info.data)
    except LayoutError as error:
        raise ForeignAccountError(f"{info.address} is no token account: {error}") from None
