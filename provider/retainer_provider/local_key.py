"""A key that this process holds, made for signing a receipt with every answer."""

from typing import Final

from nacl.bindings import crypto_sign
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol.signing import Signer

_SIGNATURE_BYTES: Final = 64


class LocalKey:
    """Signs as the keypair does, byte for byte: Ed25519 is deterministic.

    libsodium works outside of the interpreter lock, so that requests go on meanwhile. solders would hold it, and
    derive the public key anew whenever it is asked for it.
    """

    def __init__(self, keypair: Keypair) -> None:
        self._secret = bytes(keypair)  # the seed and the public key, as libsodium's 64 bytes are
        self._pubkey = keypair.pubkey()

    def pubkey(self) -> Pubkey:
        """The key's address."""
        return self._pubkey

    def sign_message(self, message: bytes) -> Signature:
        """The Ed25519 signature of exactly these bytes."""
        return Signature.from_bytes(crypto_sign(message, self._secret)[:_SIGNATURE_BYTES])

    def __repr__(self) -> str:
        return f"LocalKey({self._pubkey})"  # never the secret (F27)


def signs_here(signer: Signer) -> bool:
    """Whether it signs in this process, in microseconds, and asks nobody."""
    return isinstance(signer, LocalKey | Keypair)
