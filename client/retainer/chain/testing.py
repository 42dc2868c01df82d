"""Tokens to play with, on any chain where nobody's money is at stake: a local validator, devnet, the fake chain."""

import struct
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from retainer.chain.base import Chain
from retainer.chain.confirm import Timer
from retainer.chain.sessions import token_account
from retainer.chain.submit import submit
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TOKEN_PROGRAM_ID
from retainer.protocol.instructions import create_ata_idempotent
from retainer.protocol.pda import derive_ata

_MINT_BYTES: Final = 82
_INITIALIZE_MINT_2: Final = 20
_MINT_TO: Final = 7


async def create_mint(
    chain: Chain,
    authority: Keypair,
    *,
    decimals: int = 6,
    token_program: Pubkey = TOKEN_PROGRAM_ID,
    clock: Timer | None = None,
) -> Pubkey:
    """A new mint without extensions, whose rent `authority` pays and whose tokens only `authority` can make."""
    mint = Keypair()
    rent = await chain.minimum_balance(_MINT_BYTES)
    allocate = create_account(
        CreateAccountParams(
            from_pubkey=authority.pubkey(),
            to_pubkey=mint.pubkey(),
            lamports=rent,
            space=_MINT_BYTES,
            owner=token_program,
        )
    )
    no_freeze_authority = b"\0"
    initialize = Instruction(
        token_program,
        bytes([_INITIALIZE_MINT_2, decimals]) + bytes(authority.pubkey()) + no_freeze_authority,
        [AccountMeta(mint.pubkey(), is_signer=False, is_writable=True)],
    )
    await submit(chain, [allocate, initialize], [authority, mint], clock=clock)
    return mint.pubkey()


async def create_ata(
    chain: Chain,
    funder: Keypair,
    *,
    owner: Pubkey,
    mint: Pubkey,
    token_program: Pubkey = TOKEN_PROGRAM_ID,
    clock: Timer | None = None,
) -> Pubkey:
    """The associated token account of `owner`, created at the funder's cost unless it is there."""
    instruction = create_ata_idempotent(funder=funder.pubkey(), owner=owner, mint=mint, token_program=token_program)
    await submit(chain, [instruction], [funder], clock=clock)
    return derive_ata(owner, mint, token_program)


async def mint_to(
    chain: Chain,
    authority: Keypair,
    *,
    owner: Pubkey,
    mint: Pubkey,
    amount: int,
    token_program: Pubkey = TOKEN_PROGRAM_ID,
    clock: Timer | None = None,
) -> Pubkey:
    """Make `amount` base units for `owner`, into its associated account, which is created if need be."""
    account = derive_ata(owner, mint, token_program)
    make = Instruction(
        token_program,
        bytes([_MINT_TO]) + struct.pack("<Q", amount),
        [
            AccountMeta(mint, is_signer=False, is_writable=True),
            AccountMeta(account, is_signer=False, is_writable=True),
            AccountMeta(authority.pubkey(), is_signer=True, is_writable=False),
        ],
    )
    create = create_ata_idempotent(funder=authority.pubkey(), owner=owner, mint=mint, token_program=token_program)
    await submit(chain, [create, make], [authority], clock=clock)
    return account


async def token_balance(
    chain: Chain, owner: Pubkey, mint: Pubkey, *, token_program: Pubkey = TOKEN_PROGRAM_ID
) -> BaseUnits:
    """What `owner` holds in its associated account, in base units; 0 where it has none."""
    account = await token_account(chain, derive_ata(owner, mint, token_program))
    return BaseUnits(0) if account is None else account.amount
