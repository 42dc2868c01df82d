"""Where the money of a session is held: in the program's escrow, or with this service. One interface for both."""

from dataclasses import dataclass
from typing import Protocol

from retainer.protocol.actions import OpenAction, TopUpAction
from retainer.protocol.challenges import Challenge
from retainer_provider.books.records import SessionRecord
from retainer_provider.sessions.custodial import CustodialDeposits
from retainer_provider.sessions.opening import Opener
from retainer_provider.sessions.topping_up import Topper
from retainer_provider.wire.challenger import Challenger


class Holding(Protocol):
    """Takes deposits; every refusal is a RefusedError and credits nothing."""

    async def open(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """Open the session that a deposit pays for, or find it open already."""
        ...

    async def top_up(self, challenge: Challenge, action: TopUpAction) -> SessionRecord:
        """Add to a session's deposit, or find it added already."""
        ...

    async def open_invoiced(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """Open the session of an invoice with its payer's transaction."""
        ...

    async def arrived(self, challenge: Challenge, action: OpenAction) -> SessionRecord | None:
        """Open the session of an invoice whose deposit is on the chain; None while it is not."""
        ...

    async def add(self, action: TopUpAction) -> SessionRecord:
        """Add to a session's deposit with its payer's transaction."""
        ...

    async def added(self, record: SessionRecord) -> SessionRecord:
        """The session with what its payer has added by itself and the chain shows."""
        ...

    async def aclose(self) -> None:
        """Stop waiting for the chain."""
        ...


@dataclass(frozen=True, slots=True)
class ByChallenge:
    """The holding that a challenge of this service asked for."""

    challenger: Challenger
    opener: Opener
    topper: Topper
    custodial: CustodialDeposits

    async def open(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """See ``Holding.open``."""
        return await (self.opener if self._anchored(challenge) else self.custodial).open(challenge, action)

    async def top_up(self, challenge: Challenge, action: TopUpAction) -> SessionRecord:
        """See ``Holding.top_up``."""
        return await (self.topper if self._anchored(challenge) else self.custodial).top_up(challenge, action)

    async def open_invoiced(self, challenge: Challenge, action: OpenAction) -> SessionRecord:
        """See ``Holding.open_invoiced``."""
        return await self.opener.open_invoiced(challenge, action)

    async def arrived(self, challenge: Challenge, action: OpenAction) -> SessionRecord | None:
        """See ``Holding.arrived``."""
        return await self.opener.arrived(challenge, action)

    async def add(self, action: TopUpAction) -> SessionRecord:
        """See ``Holding.add``."""
        return await self.topper.add(action)

    async def added(self, record: SessionRecord) -> SessionRecord:
        """See ``Holding.added``."""
        return await self.topper.arrived(record)

    async def aclose(self) -> None:
        """See ``Holding.aclose``."""
        await self.topper.aclose()

    def _anchored(self, challenge: Challenge) -> bool:
        return self.challenger.require_ours(challenge).anchor_on_chain
