"""Custodial deposits that were on their way when a request, or the process, ended: credited, dead, or still open."""

import structlog

from retainer.chain.base import Chain
from retainer.chain.confirm import ConfirmationOutcome
from retainer_provider.books.ledger import Ledger
from retainer_provider.clock import Clock
from retainer_provider.settling.fate import incoming_fate

_log = structlog.get_logger(__name__)


class Incoming:
    """Resolves what the books expect of a session."""

    def __init__(self, *, chain: Chain, ledger: Ledger, clock: Clock) -> None:
        self._chain = chain
        self._ledger = ledger
        self._clock = clock

    async def resolved(self, session_id: str) -> bool:
        """Look at each expected transfer once; whether none is open now. ChainUnavailableError."""
        still_open = False
        for transfer in await self._ledger.expected_transfers(session_id):
            match await incoming_fate(self._chain, transfer.signature, transfer.last_valid_block_height):
                case ConfirmationOutcome.LANDED:
                    await self._ledger.credit_transfer(session_id, transfer.signature, self._clock.now())
                case ConfirmationOutcome.FAILED | ConfirmationOutcome.EXPIRED:
                    await self._ledger.drop_transfer(transfer.signature)
                case ConfirmationOutcome.UNKNOWN:
                    _log.info("transfer_open", session=session_id, signature=transfer.signature)
                    still_open = True
        return not still_open
