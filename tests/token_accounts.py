"""What a payer can do to its token account while its session is being settled."""

import struct

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.testing import create_ata
from retainer.protocol.instructions import create_ata_idempotent
from tests.trading import OPERATOR, PAYER, Trade

FRIEND = Keypair.from_seed(bytes([7]) * 32)
ACCOUNT_OWNER = 2  # of the token program's authorities


def signer(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=True, is_writable=False)


def token_instruction(trade: Trade, data: bytes, *others: Pubkey) -> Instruction:
    """Something that the payer does to its token account."""
    writable = [AccountMeta(key, is_signer=False, is_writable=True) for key in (trade.payer_token, *others)]
    return Instruction(trade.token_program, data, [*writable, signer(PAYER.pubkey())])


async def give_away(trade: Trade) -> None:
    """The payer's token account now belongs to a friend: no refund can go there."""
    await trade.run([token_instruction(trade, bytes([6, ACCOUNT_OWNER, 1]) + bytes(FRIEND.pubkey()))], PAYER)


async def take_back(trade: Trade) -> None:
    """The friend returns the account."""
    give_back = Instruction(
        trade.token_program,
        bytes([6, ACCOUNT_OWNER, 1]) + bytes(PAYER.pubkey()),
        [AccountMeta(trade.payer_token, is_signer=False, is_writable=True), signer(FRIEND.pubkey())],
    )
    await trade.run([give_back], FRIEND)


async def close_token_account(trade: Trade) -> None:
    """The payer moves its tokens to a friend and closes its account."""
    friends = await create_ata(trade.chain, PAYER, owner=FRIEND.pubkey(), mint=trade.mint, clock=trade.timer)
    _, held = await trade.balances()
    move = token_instruction(trade, bytes([3]) + struct.pack("<Q", held), friends)
    await trade.run([move, token_instruction(trade, bytes([9]), PAYER.pubkey())], PAYER)


async def lamports(chain: Chain, address: Pubkey) -> int:
    found = await chain.account(address)
    return 0 if found is None else found.lamports


def create_ata_of_payee(trade: Trade) -> Instruction:
    return create_ata_idempotent(
        funder=PAYER.pubkey(), owner=OPERATOR.pubkey(), mint=trade.mint, token_program=trade.token_program
    )
