"""Selling while the first pass over the open sessions is still under way: each is looked at when it asks."""

from retainer.chain.errors import ChainUnavailableError
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.settling.watcher import ChainView, Watcher


class FirstLook:
    """Whether the chain lets a session be sold to. Once all were seen, the view says so; until then its own account."""

    def __init__(self, watcher: Watcher, view: ChainView, clock: Clock) -> None:
        self._watcher = watcher
        self._view = view
        self._clock = clock
        self._looked_at: set[str] = set()

    async def seen(self, record: SessionRecord) -> bool:
        """Whether the payer's exit would have been seen early enough; may look now (F32)."""
        now = self._clock.now()
        if self._view.age(now) is not None:
            if self._looked_at:
                self._looked_at.clear()
            return self._view.fresh(now, record.grace_period)
        if not self._view.selling(now, record.grace_period):
            return False
        if record.session_id not in self._looked_at:
            try:
                await self._watcher.look_over([record])
            except ChainUnavailableError:
                return False
            self._looked_at.add(record.session_id)
        return True

    def frozen(self, session_id: str) -> bool:
        """Whether the chain lacks what this session was credited with (F06)."""
        return self._view.frozen(session_id)
