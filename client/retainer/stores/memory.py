"""Sessions for as long as the process lives."""

from collections.abc import Callable

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.stores.base import require_covered, require_growing, unknown
from retainer.stores.holds import ProcessHolds


class MemoryChannelStore(ProcessHolds):
    """A `SessionStore` in dicts. Nothing in it waits, so no two changes can overlap."""

    def __init__(self) -> None:
        super().__init__()
        self._channels: dict[str, Channel] = {}
        self._scopes: dict[str, ChannelScope] = {}

    async def get(self, scope: ChannelScope) -> Channel | None:
        """The latest session that can pay for the scope."""
        return next((channel for channel in reversed(self._under(scope)) if channel.usable), None)

    async def set(self, scope: ChannelScope, channel: Channel) -> None:
        """Keep this version under the scope."""
        require_covered(scope, channel)
        self._keep(channel)
        self._scopes[channel.session_id] = scope

    async def delete(self, scope: ChannelScope) -> None:
        """Forget all sessions of the scope."""
        for channel in self._under(scope):
            await self.forget(channel.payer, channel.session_id)

    async def find(self, payer: Pubkey, session_id: str) -> Channel | None:
        """A session by its address, usable or not."""
        channel = self._channels.get(session_id)
        return channel if channel is not None and channel.payer == payer else None

    async def update(self, payer: Pubkey, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply ``change`` to the newest version and keep the result."""
        kept = await self.find(payer, session_id)
        if kept is None:
            raise unknown(session_id)
        return self._keep(change(kept))

    async def choose(self, payer: Pubkey, choice: Callable[[list[Channel]], Channel]) -> Channel:
        """Keep what ``choice`` makes of all the payer's sessions."""
        return self._keep(choice(await self.channels(payer)))

    async def forget(self, payer: Pubkey, session_id: str) -> None:
        """Delete one session; nothing happens when it is not there."""
        if await self.find(payer, session_id):
            del self._channels[session_id], self._scopes[session_id]

    async def channels(self, payer: Pubkey) -> list[Channel]:
        """All of the payer's sessions, oldest first."""
        return [channel for channel in self._channels.values() if channel.payer == payer]

    def _keep(self, channel: Channel) -> Channel:
        if kept := self._channels.get(channel.session_id):
            require_growing(kept, channel)
        self._channels[channel.session_id] = channel
        self._scopes.setdefault(channel.session_id, channel.scope)
        return channel

    def _under(self, scope: ChannelScope) -> list[Channel]:
        return [channel for name, channel in self._channels.items() if self._scopes[name] == scope]
