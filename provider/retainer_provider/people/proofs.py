"""Texts that a wallet signs to show that it is the one that paid. Pure.

Nothing is stored for one that was handed out: its nonce is an HMAC over all that it says. A text to get a token also
says how many tokens its session had, so it is good for one.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol.encoding import Json, canonical_json, encode_base64url
from retainer.protocol.timestamps import format_timestamp

_DOMAIN: Final = "retainer-wallet-proof-v1"


@dataclass(frozen=True, slots=True)
class Request:
    """What a wallet is asked to sign: by `realm`, until `expires_at` (unix seconds).

    `session_id` is the one that a token is wanted for; empty to find the wallet's sessions. `generation` is how many
    tokens it was given before.
    """

    realm: str
    wallet: Pubkey
    session_id: str
    generation: int
    expires_at: int

    def nonce(self, secret: bytes) -> str:
        """Only this service can make it."""
        said: dict[str, Json] = {
            "domain": _DOMAIN,
            "realm": self.realm,
            "wallet": str(self.wallet),
            "session": self.session_id,
            "generation": self.generation,
            "expires": self.expires_at,
        }
        return encode_base64url(hmac.digest(secret, canonical_json(said), hashlib.sha256))

    def text(self, nonce: str) -> str:
        """What the wallet shows. It is no transaction: signing it moves nothing."""
        purpose = (
            f"let this browser use session {self.session_id}" if self.session_id else "find the sessions of this wallet"
        )
        return (
            f"{self.realm} asks you to prove that this wallet is yours, to {purpose}.\n\n"
            "Signing this costs nothing and moves nothing.\n\n"
            f"Wallet: {self.wallet}\n"
            f"Expires: {format_timestamp(self.expires_at)}\n"
            f"Nonce: {nonce}"
        )

    def to_json(self, secret: bytes) -> dict[str, Json]:
        """What the page is told."""
        nonce = self.nonce(secret)
        return {"text": self.text(nonce), "nonce": nonce, "expiresAt": self.expires_at}

    def proven(self, secrets: Sequence[bytes], nonce: str, signature: Signature, now: int) -> bool:
        """Whether the wallet signed what this service asked for, in time."""
        ours = False
        for secret in secrets:
            ours |= hmac.compare_digest(self.nonce(secret).encode(), nonce.encode())
        return ours and now < self.expires_at and signature.verify(self.wallet, self.text(nonce).encode())
