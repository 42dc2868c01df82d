"""Waiting for a transaction, with "unknown" as an outcome of its own."""

import asyncio
import time
from enum import StrEnum
from typing import Final, Protocol

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ChainUnavailableError

# A slot takes about 0.4 s; asking more often learns nothing.
_POLL_SECONDS: Final = 0.4


class ConfirmationOutcome(StrEnum):
    """What became of a transaction by the time we stopped waiting."""

    LANDED = "landed"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Timer(Protocol):
    """Passing time: a monotonic reading and a way to wait, so that tests need not."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Come back after `seconds`."""
        ...


class SystemTimer:
    """The machine's own time."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        await asyncio.sleep(seconds)


async def confirm(
    chain: Chain,
    signature: str,
    *,
    commitment: Commitment = Commitment.CONFIRMED,
    last_valid_block_height: int | None = None,
    clock: Timer | None = None,
    timeout: float = 60.0,  # noqa: ASYNC109  the outcome is a value, not a cancellation
) -> ConfirmationOutcome:
    """Wait up to `timeout` seconds until the transaction is at `commitment` or can no longer get there.

    LANDED took effect at that level; FAILED landed at that level without effect; EXPIRED can never land, because the
    *finalized* chain is past `last_valid_block_height` and no node remembers the signature; UNKNOWN is everything
    else, a silent node included: never send a second transaction on it.
    """
    timer = clock or SystemTimer()
    give_up_at = timer.monotonic() + timeout
    while True:
        try:
            outcome = await look_up(chain, signature, commitment, last_valid_block_height)
        except ChainUnavailableError:
            outcome = ConfirmationOutcome.UNKNOWN
        left = give_up_at - timer.monotonic()
        if outcome is not ConfirmationOutcome.UNKNOWN or left <= 0:
            return outcome
        await timer.sleep(min(_POLL_SECONDS, left))


async def look_up(
    chain: Chain, signature: str, commitment: Commitment, last_valid_block_height: int | None
) -> ConfirmationOutcome:
    """The same without waiting; ChainUnavailableError when the node does not answer."""
    # The height is read first: a transaction landing between the two reads is then still found.
    height = None if last_valid_block_height is None else await chain.block_height(commitment=Commitment.FINALIZED)
    status = await chain.signature_status(signature)
    if status is not None:
        if not status.commitment.covers(commitment):
            return ConfirmationOutcome.UNKNOWN
        return ConfirmationOutcome.LANDED if status.error is None else ConfirmationOutcome.FAILED
    if height is not None and last_valid_block_height is not None and height > last_valid_block_height:
        return ConfirmationOutcome.EXPIRED
    return ConfirmationOutcome.UNKNOWN
