"""Keys: what a signer must offer, and Solana CLI keypair files."""

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from retainer.errors import WalletError
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.signing import Signer
from retainer.protocol.vouchers import SignedVoucher, Voucher, voucher_bytes

_KEYPAIR_BYTES: Final = 64
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def sign_transaction(
    signer: Signer, instructions: Sequence[Instruction], blockhash: Hash, *, sponsor: Pubkey | None = None
) -> tuple[bytes, Signature | None]:
    """A transaction as wire bytes, and the signature that it will be found by.

    The signer pays for it, or the ``sponsor``: then that one's signature is still missing, and None is returned for it.
    """
    message = Message.new_with_blockhash(instructions, sponsor or signer.pubkey(), blockhash)
    own = signer.sign_message(bytes(message))
    required = message.account_keys[: message.header.num_required_signatures]
    signatures = [own if key == signer.pubkey() else Signature.default() for key in required]
    return bytes(VersionedTransaction.populate(message, signatures)), own if sponsor is None else None


def sign_voucher_as(signer: Signer, channel_id: Pubkey, cumulative: BaseUnits) -> SignedVoucher:
    """A voucher over ``cumulative`` base units that never expires: only the session's own end limits it."""
    voucher = Voucher(channel_id, cumulative)
    return SignedVoucher(voucher, signer.pubkey(), signer.sign_message(voucher_bytes(voucher)))


def load_keypair(path: str | os.PathLike[str]) -> Keypair:
    """Read a keypair file of the Solana CLI (a JSON array of 64 numbers); WalletError says what to do otherwise.

    A file that others may read is refused: whoever read it may already have copied the key.
    """
    file = Path(path).expanduser()
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="ascii")
    except FileNotFoundError:
        raise WalletError(f"no keypair at {file}; make one with: retainer keygen {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WalletError(f"{file} cannot be read: {error}") from None
    if os.name == "posix" and mode & _OTHERS:
        raise WalletError(f"{file} can be read by others; run: chmod 600 {file}")
    return _parse(text, str(file))


def create_keypair(path: str | os.PathLike[str]) -> Keypair:
    """Make a fresh keypair and write it, readable by its owner alone; WalletError where a file already stands."""
    file, keypair = Path(path).expanduser(), Keypair()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The mode is set by the call that creates the file: there is no moment at which others could read it.
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
            json.dump(list(bytes(keypair)), out)
    except FileExistsError:
        raise WalletError(f"{file} already exists, and overwriting a key would lose what it owns") from None
    except OSError as error:
        raise WalletError(f"{file} cannot be written: {error}") from None
    return keypair


def _parse(text: str, name: str) -> Keypair:
    try:
        numbers = json.loads(text)
        secret = bytes(numbers) if isinstance(numbers, list) else b""
        if len(secret) != _KEYPAIR_BYTES:
            raise ValueError("wrong length")
        return Keypair.from_bytes(secret)  # checks that the public half belongs to the secret one
    except (ValueError, TypeError, RecursionError):
        # The reason is not repeated: an error's text could carry parts of the secret into a log.
        raise WalletError(f"{name} is no Solana CLI keypair: a JSON array of {_KEYPAIR_BYTES} numbers") from None
