"""Where sessions are kept: a store finds the one that can pay for a scope, and never lets its figures shrink."""

import hashlib
from collections.abc import Iterable
from typing import Protocol

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.errors import StoreError
from retainer.flows.offers import Scope
from retainer.protocol.encoding import canonical_json


class ChannelStore(Protocol):
    """Sessions, namespaced by payer. Implementations call ``require_growing`` before they overwrite."""

    async def get(self, payer: Pubkey, scope: Scope) -> Channel | None:
        """The latest usable session for the scope."""
        ...

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        ...

    async def set(self, channel: Channel) -> None:
        """Keep this version; StoreError when its deposit or total is below the kept one's."""
        ...

    async def delete(self, payer: Pubkey, session_id: str) -> None:
        """Forget a session; nothing happens when it is not there."""
        ...

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        ...


def entry_key(payer: Pubkey, scope: Scope) -> str:
    """A short text that names payer and scope in any key-value store.

    A digest: the parts of a scope are chosen by a service, and no choice of theirs may collide with another key.
    """
    parts = canonical_json(
        {
            "payer": str(payer),
            "payee": str(scope.payee),
            "token": str(scope.token),
            "program": str(scope.program),
            "cluster": scope.cluster,
            "origin": scope.origin,
            "offerId": scope.offer_id,
        }
    )
    return hashlib.sha256(parts).hexdigest()


def require_growing(kept: Channel, new: Channel) -> None:
    """StoreError when ``new`` would lower what is known to be deposited or spent."""
    if new.deposit < kept.deposit or new.book.spent < kept.book.spent or new.book.charged < kept.book.charged:
        raise StoreError(f"session {kept.session_id} was changed elsewhere: its deposit or total would go down")


def latest_usable(channels: Iterable[Channel], scope: Scope) -> Channel | None:
    """Of sessions in the order of their opening, the last that can pay for the scope."""
    fitting = [channel for channel in channels if channel.usable and channel.scope == scope]
    return fitting[-1] if fitting else None


class MemoryChannelStore:
    """Sessions for as long as the process lives."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}

    async def get(self, payer: Pubkey, scope: Scope) -> Channel | None:
        """The latest usable session for the scope."""
        return latest_usable(await self.channels(payer), scope)

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        channel = self._channels.get(session_id)
        return channel if channel is not None and channel.payer == payer else None

    async def set(self, channel: Channel) -> None:
        """Keep this version; StoreError when its deposit or total is below the kept one's."""
        if kept := self._channels.get(channel.session_id):
            require_growing(kept, channel)
        self._channels[channel.session_id] = channel

    async def delete(self, payer: Pubkey, session_id: str) -> None:
        """Forget a session; nothing happens when it is not there."""
        if await self.find(payer, session_id):
            del self._channels[session_id]

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        return [channel for channel in self._channels.values() if channel.payer == payer]
