"""The token programs' own instructions that attackers put around ours."""

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from retainer.protocol.instructions import create_ata_idempotent
from tests.program.harness.tokens import TokenProgram

TRANSFER, APPROVE, SET_AUTHORITY, CLOSE_ACCOUNT, SYNC_NATIVE = 3, 4, 6, 9, 17
ACCOUNT_OWNER = 2


def transfer(
    program: TokenProgram, source: Pubkey, target: Pubkey, owner: Pubkey, amount: int, *, signed: bool = True
) -> Instruction:
    """Moves base units."""
    metas = [_writable(source), _writable(target), AccountMeta(owner, is_signer=signed, is_writable=False)]
    return Instruction(program.id, bytes([TRANSFER]) + amount.to_bytes(8, "little"), metas)


def approve(program: TokenProgram, account: Pubkey, owner: Pubkey, delegate: Pubkey, amount: int) -> Instruction:
    """Lets a delegate move base units."""
    metas = [_writable(account), AccountMeta(delegate, is_signer=False, is_writable=False), _signer(owner)]
    return Instruction(program.id, bytes([APPROVE]) + amount.to_bytes(8, "little"), metas)


def set_owner(program: TokenProgram, account: Pubkey, owner: Pubkey, new_owner: Pubkey) -> Instruction:
    """Gives a token account away."""
    data = bytes([SET_AUTHORITY, ACCOUNT_OWNER, 1]) + bytes(new_owner)
    return Instruction(program.id, data, [_writable(account), _signer(owner)])


def close_account(program: TokenProgram, account: Pubkey, owner: Pubkey) -> Instruction:
    """Closes an empty token account, its rent to its owner."""
    return Instruction(program.id, bytes([CLOSE_ACCOUNT]), [_writable(account), _writable(owner), _signer(owner)])


def sync_native(program: TokenProgram, account: Pubkey) -> Instruction:
    """Turns the surplus lamports of a wrapped SOL account into tokens."""
    return Instruction(program.id, bytes([SYNC_NATIVE]), [_writable(account)])


def create_ata(program: TokenProgram, funder: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Makes a token account for its owner, at the funder's cost."""
    return create_ata_idempotent(funder=funder, owner=owner, mint=mint, token_program=program.id)


def _writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


def _signer(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=True, is_writable=False)
