"""Sessions for as long as the process lives."""

from collections.abc import Callable

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.flows.offers import Scope
from retainer.stores.base import latest_usable, require_growing, unknown


class MemoryChannelStore:
    """A `ChannelStore` in a dict. Nothing in it waits, so no two changes can overlap."""

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

    async def update(self, payer: Pubkey, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply ``change`` to the newest version and keep the result."""
        kept = await self.find(payer, session_id)
        if kept is None:
            raise unknown(session_id)
        changed = change(kept)
        await self.set(changed)
        return changed

    async def choose(self, payer: Pubkey, choice: Callable[[list[Channel]], Channel]) -> Channel:
        """Keep what ``choice`` makes of all the payer's sessions."""
        chosen = choice(await self.channels(payer))
        await self.set(chosen)
        return chosen

    async def delete(self, payer: Pubkey, session_id: str) -> None:
        """Forget a session; nothing happens when it is not there."""
        if await self.find(payer, session_id):
            del self._channels[session_id]

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        return [channel for channel in self._channels.values() if channel.payer == payer]
