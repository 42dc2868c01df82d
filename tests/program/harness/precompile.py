"""Ed25519 precompile instructions that verify, canonical or not: the escrow alone must refuse the latter."""

import struct
from dataclasses import dataclass, replace
from typing import Final, Self

from solders.instruction import Instruction
from solders.keypair import Keypair

from retainer.protocol.constants import ED25519_PROGRAM_ID

ITSELF: Final = 0xFFFF
_HEADER: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One precompile instruction: where its header points, and the blocks that follow in the order given."""

    key: bytes
    signature: bytes
    message: bytes
    order: tuple[str, str, str] = ("key", "signature", "message")
    count: int = 1
    padding: int = 0
    signature_in: int = ITSELF
    key_in: int = ITSELF
    message_in: int = ITSELF
    message_at: int | None = None
    message_length: int | None = None
    second: bool = False
    tail: bytes = b""

    @classmethod
    def signed(cls, keypair: Keypair, message: bytes) -> Self:
        """The canonical shape of this message signed by this key."""
        return cls(key=bytes(keypair.pubkey()), signature=bytes(keypair.sign_message(message)), message=message)

    def padded(self) -> Self:
        """The same with the padding byte set, which the precompile does not read."""
        return replace(self, padding=1)

    def instruction(self) -> Instruction:
        """The instruction as bytes for the precompile."""
        base = _HEADER + 14 * self.second
        at: dict[str, int] = {}
        blocks = b""
        for name in self.order:
            at[name] = base + len(blocks)
            blocks += getattr(self, name)
        offsets = struct.pack(
            "<7H",
            at["signature"],
            self.signature_in,
            at["key"],
            self.key_in,
            at["message"] if self.message_at is None else self.message_at,
            len(self.message) if self.message_length is None else self.message_length,
            self.message_in,
        )
        header = bytes([self.count, self.padding]) + offsets * (2 if self.second else 1)
        return Instruction(ED25519_PROGRAM_ID, header + blocks + self.tail, [])
