"""What retainer asks of a chain. Lamports, base units, slots and heights are ints; times are Unix seconds.

Every method raises ChainUnavailableError when no usable answer came; none raises anything foreign.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from solders.hash import Hash
from solders.pubkey import Pubkey


class Commitment(StrEnum):
    """How settled a read must be. At `CONFIRMED` a fork can still take it back; at `FINALIZED` nothing can."""

    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"

    def covers(self, other: "Commitment") -> bool:
        """Whether what is known at this level is also known at `other`."""
        order = list(Commitment)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """An account; `slot` is the one that the answer describes."""

    address: Pubkey
    owner: Pubkey
    lamports: int
    data: bytes = field(repr=False)
    slot: int


@dataclass(frozen=True, slots=True)
class LatestBlockhash:
    """A blockhash; a transaction naming it can land up to and including `last_valid_block_height`."""

    blockhash: Hash
    slot: int
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class SignatureStatus:
    """A transaction that landed in `slot`; `error` is None when it took effect."""

    slot: int
    commitment: Commitment
    error: str | None


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """A transaction that landed: its wire bytes, and what came of it. `fee` in lamports."""

    signature: str
    slot: int
    block_time: int | None
    error: str | None
    logs: tuple[str, ...] = field(repr=False)
    raw: bytes = field(repr=False)
    fee: int
    compute_units: int | None


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What would come of a transaction; `units` are compute units."""

    error: str | None
    logs: tuple[str, ...] = field(repr=False)
    units: int | None


class Chain(Protocol):
    """A Solana cluster as retainer needs it."""

    async def account(
        self, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED, min_slot: int | None = None
    ) -> AccountInfo | None:
        """The account, or None where there is none; an answer older than `min_slot` is no answer."""
        ...

    async def accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment = Commitment.CONFIRMED,
        min_slot: int | None = None,
    ) -> list[AccountInfo | None]:
        """Up to 100 accounts as of one slot, in the order asked for."""
        ...

    async def latest_blockhash(self, *, commitment: Commitment = Commitment.CONFIRMED) -> LatestBlockhash:
        """A blockhash to sign with."""
        ...

    async def genesis_hash(self) -> str:
        """The hash, in base58, that tells this cluster from every other."""
        ...

    async def slot(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest slot at this level."""
        ...

    async def block_height(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest block's height at this level; what blockhashes expire by."""
        ...

    async def block_time(self) -> int:
        """The chain's own time, which programs compare deadlines with."""
        ...

    async def send(self, raw: bytes) -> str:
        """Hand a signed transaction to the node and return its signature; it has not landed by that.

        Sending the same bytes again is safe, landed or not. TransactionRefusedError when the node's check refused it,
        SendOutcomeUnknownError when it is not known whether the node took it.
        """
        ...

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        """What became of a transaction, or None while the node knows of none."""
        ...

    async def transaction(
        self, signature: str, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> TransactionInfo | None:
        """A transaction that landed, failed ones included, or None."""
        ...

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        """Signatures of transactions that name the address, newest first."""
        ...

    async def program_accounts(
        self, program: Pubkey, *, offset: int, key: Pubkey, commitment: Commitment = Commitment.CONFIRMED
    ) -> list[AccountInfo]:
        """Every account of `program` whose data holds `key` at `offset`; nodes may refuse to search."""
        ...

    async def simulate(self, raw: bytes) -> SimulationResult:
        """Run a transaction without landing it; its signatures are checked."""
        ...

    async def recent_priority_fees(self, writable: Sequence[Pubkey]) -> list[int]:
        """What transactions that write to these accounts paid in recent blocks, a figure for each block.

        In millionths of a lamport per compute unit; empty where the node has seen none.
        """
        ...

    async def minimum_balance(self, space: int) -> int:
        """Lamports that keep an account of `space` bytes free of rent."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


def program_error(error: str | None) -> int | None:
    """The number a program refused with, out of an error as statuses, transactions and simulations carry it.

    Errors are the runtime's own JSON: `"BlockhashNotFound"` or `{"InstructionError":[0,{"Custom":6101}]}`.
    """
    try:
        _, reason = json.loads(error or "")["InstructionError"]
        number = reason["Custom"]
    except (ValueError, TypeError, KeyError):
        return None
    return number if isinstance(number, int) else None
