"""What a settlement offers to be included: nothing, a price, or what others paid lately; more with each try (F15)."""

from dataclasses import dataclass
from typing import Final

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.errors import ChainUnavailableError

_log = structlog.get_logger(__name__)

# What did not land for a whole blockhash's life offers ten times as much, from here on where it offered nothing.
_STEP: Final = 10
_LEAST_STEP: Final = 1_000
# Of what recent blocks asked for: enough for three in four of them.
_PERCENT: Final = 75


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Prices in millionths of a lamport per compute unit. ``first`` of None asks the node what was paid lately.

    ``cap`` is never exceeded, whatever the node says. 0 means no compute budget at all.
    """

    first: int | None = 0
    cap: int = 1_000_000

    async def price(self, chain: Chain, payee_token: Pubkey, attempt: int) -> int:
        """For the first (0), second, ... transaction of a settlement; each next one only after the last is dead."""
        return self.escalated(await self._recent(chain, payee_token) if self.first is None else self.first, attempt)

    def escalated(self, first: int, attempt: int) -> int:
        """``first``, or so many steps above it. Pure."""
        return min(self.cap, first if attempt == 0 else max(first, _LEAST_STEP) * _STEP**attempt)

    @staticmethod
    async def _recent(chain: Chain, payee_token: Pubkey) -> int:
        """What landed writes to the one account that all of this payee's settlements contend for."""
        try:
            fees = sorted(await chain.recent_priority_fees([payee_token]))
        except ChainUnavailableError as error:
            # Not every node tells. A settlement that offers nothing lands as well, and escalates where it does not.
            _log.warning("priority_fees_unknown", reason=str(error))
            return 0
        return fees[len(fees) * _PERCENT // 100] if fees else 0
