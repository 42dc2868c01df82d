"""Keys that this process does not hold: a command signs with them, and every signature is verified."""

import base64
import subprocess
from collections.abc import Sequence
from typing import Final

from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol.errors import RetainerError

_TEXT_IN_ERRORS: Final = 200


class SigningError(RetainerError):
    """The external signer gave no signature; nothing was signed, sent or charged. The text says what it did."""


class CommandSigner:
    """Runs ``command`` for each signature: the message in base64 on its stdin, the signature on its stdout.

    The signature is base58 or base64, of exactly the message's bytes. Waits ``timeout`` seconds at most, blocking.
    """

    def __init__(self, command: Sequence[str], pubkey: Pubkey, *, timeout: float) -> None:
        self._command = [*command]
        self._pubkey = pubkey
        self._timeout = timeout

    def pubkey(self) -> Pubkey:
        """The address that the settings name."""
        return self._pubkey

    def sign_message(self, message: bytes) -> Signature:
        """The command's signature; SigningError where there is none, or it is not this key's."""
        name = self._command[0]
        try:
            ran = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
                self._command,
                input=base64.b64encode(message) + b"\n",
                capture_output=True,
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SigningError(f"the signer {name} gave no signature within {self._timeout:g} s") from None
        except OSError as error:
            raise SigningError(f"the signer {name} cannot be run: {error.strerror}") from None
        if ran.returncode != 0:
            said = ran.stderr.decode(errors="replace").strip()[:_TEXT_IN_ERRORS]
            raise SigningError(f"the signer {name} ended with status {ran.returncode}: {said or 'it said nothing'}")
        signature = _read(ran.stdout)
        if signature is None:
            raise SigningError(
                f"the signer {name} printed no signature: one of 64 bytes in base58 or base64 is expected"
            )
        if not signature.verify(self._pubkey, message):
            raise SigningError(f"the signer {name} signed with another key than {self._pubkey}, or another message")
        return signature

    def __repr__(self) -> str:
        return f"CommandSigner({self._pubkey})"  # arguments may hold secrets (F27)


def _read(output: bytes) -> Signature | None:
    text = output.strip()
    try:
        if text.endswith(b"="):
            return Signature.from_bytes(base64.b64decode(text, validate=True))
        return Signature.from_string(text.decode("ascii"))
    except ValueError:
        return None
