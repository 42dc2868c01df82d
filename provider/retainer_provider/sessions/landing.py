"""Bringing an agent's signed transaction onto the chain, and saying what became of it."""

from typing import Final

from solders.transaction import VersionedTransaction

from retainer.chain.base import Chain, Commitment, program_error
from retainer.chain.confirm import ConfirmationOutcome, Timer, confirm
from retainer.chain.errors import SendOutcomeUnknownError, TransactionRefusedError
from retainer.protocol.problems import ProblemType
from retainer.protocol.program_errors import PROGRAM_ERRORS
from retainer_provider.sessions.refusals import RefusedError, refuse

_ASK_AGAIN_SECONDS: Final = 2


class Landing:
    """``wait`` is how long one call waits for ``commitment``, in seconds; a client may ask again."""

    def __init__(self, *, chain: Chain, commitment: Commitment, timer: Timer, wait: float) -> None:
        self._chain = chain
        self._commitment = commitment
        self._timer = timer
        self._wait = wait

    async def send(self, raw: bytes) -> None:
        """Hand it to the node; RefusedError when the node's check says that it would fail."""
        try:
            await self._chain.send(raw)
        except TransactionRefusedError as error:
            # The node's check is after the fact where another process has sent the same transaction.
            signature = str(VersionedTransaction.from_bytes(raw).signatures[0])
            if await self._chain.signature_status(signature) is None:
                raise failed(error.error) from None
        except SendOutcomeUnknownError:
            pass  # whether it was sent is what the next step finds out

    async def confirmed(self, signature: str, level: Commitment | None = None) -> None:
        """Wait until it took effect, at another ``level`` where one is named.

        RefusedError when it failed, or is not there yet.
        """
        outcome = await confirm(
            self._chain, signature, commitment=level or self._commitment, clock=self._timer, timeout=self._wait
        )
        if outcome is ConfirmationOutcome.FAILED:
            status = await self._chain.signature_status(signature)
            raise failed(None if status is None else status.error)
        if outcome is not ConfirmationOutcome.LANDED:
            raise unconfirmed(signature)


def failed(error: str | None) -> RefusedError:
    """A transaction without effect, for the runtime's reason."""
    known = PROGRAM_ERRORS.get(program_error(error) or 0)
    reason = (error or "for an unknown reason") if known is None else known.message.rstrip(".")
    return refuse(
        ProblemType.DEPOSIT_FAILED,
        f"The deposit's transaction fails on chain, so nothing was moved: {reason}. Put that right and sign a new one.",
    )


def unconfirmed(signature: str) -> RefusedError:
    """A transaction that may still take effect."""
    return refuse(
        ProblemType.DEPOSIT_UNCONFIRMED,
        f"Transaction {signature} is not confirmed yet: send the same credential again in {_ASK_AGAIN_SECONDS} s.",
        retry_after=_ASK_AGAIN_SECONDS,
    )
