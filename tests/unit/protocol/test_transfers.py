"""Transfers that name a session: what passes for a deposit, and what for a refund (F01, C13)."""

from dataclasses import replace

import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account
from solders.transaction import Transaction

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.errors import TransactionError
from retainer.protocol.instructions import create_ata_idempotent
from retainer.protocol.transfers import Transfer, find_refund, inspect_transfer

PAYER, PAYEE, STRANGER = (Keypair.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
SESSION, MINT = (Keypair.from_seed(bytes([number]) * 32).pubkey() for number in (4, 5))
DEPOSIT = Transfer(
    session=SESSION,
    sender=PAYER.pubkey(),
    recipient=PAYEE.pubkey(),
    mint=MINT,
    decimals=6,
    token_program=TOKEN_PROGRAM_ID,
    amount=BaseUnits(1_000_000),
)
BACK = replace(DEPOSIT, sender=PAYEE.pubkey(), recipient=PAYER.pubkey(), amount=BaseUnits(0))


def signed(*instructions: Instruction, by: tuple[Keypair, ...] = (PAYER,), payer: Pubkey | None = None) -> bytes:
    message = Message.new_with_blockhash(list(instructions), payer or by[0].pubkey(), Hash.default())
    transaction = Transaction.new_unsigned(message)
    transaction.partial_sign(list(by), Hash.default())
    return bytes(transaction)


def test_the_agreed_transfer_passes() -> None:
    found = inspect_transfer(signed(DEPOSIT.instruction()), DEPOSIT)
    assert (found.amount, found.blockhash) == (1_000_000, Hash.default())


@pytest.mark.parametrize(
    "changes",
    [
        {"session": STRANGER.pubkey()},
        {"recipient": STRANGER.pubkey()},
        {"mint": STRANGER.pubkey()},
        {"decimals": 9},
        {"amount": BaseUnits(999_999)},
        {"token_program": TOKEN_2022_PROGRAM_ID},
    ],
)
def test_another_transfer_does_not(changes: dict[str, object]) -> None:
    other = replace(DEPOSIT, **changes)  # type: ignore[arg-type]  # names of its fields
    with pytest.raises(TransactionError):
        inspect_transfer(signed(other.instruction()), DEPOSIT)


def test_nor_does_anything_beside_it() -> None:
    nonce = advance_nonce_account(
        AdvanceNonceAccountParams(nonce_pubkey=STRANGER.pubkey(), authorized_pubkey=PAYER.pubkey())
    )
    plain = DEPOSIT.instruction()
    more = Instruction(
        plain.program_id, plain.data, [*plain.accounts, AccountMeta(MINT, is_signer=False, is_writable=False)]
    )
    for raw in (
        signed(plain, plain),
        signed(nonce, plain),
        signed(more),
        signed(plain, by=(STRANGER, PAYER)),
        signed(plain, by=(), payer=PAYER.pubkey()),
    ):
        with pytest.raises(TransactionError):
            inspect_transfer(raw, DEPOSIT)


def test_a_refund_is_read_whatever_its_amount_and_with_an_account_created_first() -> None:
    refund = replace(BACK, amount=BaseUnits(760_000)).instruction()
    create = create_ata_idempotent(funder=STRANGER.pubkey(), owner=PAYER.pubkey(), mint=MINT)
    assert find_refund(signed(refund, by=(PAYEE,)), BACK) == 760_000
    assert find_refund(signed(create, refund, by=(STRANGER, PAYEE)), BACK) == 760_000


def test_a_deposit_and_a_strangers_gift_are_no_refund() -> None:
    gift = replace(BACK, sender=STRANGER.pubkey(), amount=BaseUnits(760_000))
    assert find_refund(signed(DEPOSIT.instruction()), BACK) is None
    assert find_refund(signed(gift.instruction(), by=(STRANGER,)), BACK) is None
    assert find_refund(b"no transaction", BACK) is None
