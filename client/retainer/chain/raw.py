"""Signed transactions as bytes, the same way for every chain."""

from solders.transaction import VersionedTransaction

from retainer.chain.errors import TransactionRefusedError
from retainer.protocol.envelopes import decode_transaction
from retainer.protocol.errors import TransactionError


def decode_signed(raw: bytes) -> VersionedTransaction:
    """The transaction; TransactionRefusedError for bytes that no node would take. Verifies no signature."""
    try:
        transaction = decode_transaction(raw)
    except TransactionError as error:
        raise TransactionRefusedError(str(error)) from None
    if not transaction.signatures:
        raise TransactionRefusedError("the transaction has no place for a signature")
    return transaction


def signature_of(transaction: VersionedTransaction) -> str:
    """What the transaction will be found by: its fee payer's signature."""
    return str(transaction.signatures[0])
