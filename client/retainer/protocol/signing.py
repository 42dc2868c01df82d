"""Whoever holds a key, and transactions signed by them."""

from collections.abc import Sequence
from typing import Protocol

from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction


class Signer(Protocol):
    """Signs as one key: a solders ``Keypair`` is one, a hardware wallet or a signing service can be another."""

    def pubkey(self) -> Pubkey:
        """The key's address."""
        ...

    def sign_message(self, message: bytes) -> Signature:
        """The Ed25519 signature of exactly these bytes."""
        ...


def signed_transaction(instructions: Sequence[Instruction], signers: Sequence[Signer], blockhash: Hash) -> Transaction:
    """A transaction that the first of ``signers`` pays for and all have signed; all it needs must be among them."""
    message = Message.new_with_blockhash(instructions, signers[0].pubkey(), blockhash)
    keys = {signer.pubkey(): signer for signer in signers}
    required = message.account_keys[: message.header.num_required_signatures]
    return Transaction.populate(message, [keys[key].sign_message(bytes(message)) for key in required])
