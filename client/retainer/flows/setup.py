"""What every part of the client works with: keys, chain, network, rules, records and time, all injected."""

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.confirm import Timer
from retainer.channels.channel import Channel
from retainer.stores.base import ChannelStore, unknown
from retainer.trust.caps import Amount, Deposited, SpendingCaps, TopUpPolicy
from retainer.trust.pins import Pins
from retainer.wallet import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """``now`` is Unix seconds.

    ``deposit`` is what a session gets that opens by itself, ``topping_up`` when it gets more;
    ``deposits`` what this client has signed so far.
    """

    signer: Signer
    chain: Chain
    http: httpx.AsyncClient
    pins: Pins
    caps: SpendingCaps
    store: ChannelStore
    now: Callable[[], int]
    timer: Timer
    deposit: Amount | None = None
    topping_up: TopUpPolicy | None = None
    deposits: list[Deposited] = field(default_factory=list)

    @property
    def payer(self) -> Pubkey:
        """Whose sessions these are."""
        return self.signer.pubkey()

    async def channel(self, session_id: str) -> Channel:
        """A session of this client; UnknownSessionError when it has none of this id."""
        channel = await self.store.find(self.payer, session_id)
        if channel is None:
            raise unknown(session_id)
        return channel

    async def update(self, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply the pure ``change`` to the newest version and keep the result; updates never overlap."""
        return await self.store.update(self.payer, session_id, change)
