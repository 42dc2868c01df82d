"""Looking at sessions as soon as a node announces a change. Polling goes on, and alone makes the view fresh."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog

from retainer.chain.confirm import Timer
from retainer.chain.errors import ChainUnavailableError
from retainer.chain.notices import Notice
from retainer_provider.settling.watcher import Watcher

_log = structlog.get_logger(__name__)

# Seconds until the next try to listen; twice as many each time, up to the last.
_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0
# The node that is asked may be some slots behind the one that announces.
_TRIES: Final = 5
_SLOT_SECONDS: Final = 0.4


class Announcements:
    """Listens for as long as it runs. ``notices`` subscribes anew at each call."""

    def __init__(
        self,
        *,
        notices: Callable[[], AsyncIterator[Notice | None]],
        watcher: Watcher,
        settle: Callable[[], Awaitable[None]],
        timer: Timer,
    ) -> None:
        self._notices = notices
        self._watcher = watcher
        self._settle = settle
        self._timer = timer

    async def run(self) -> None:
        """Listen, and begin again whenever that ends; it ends only by being cancelled."""
        retry = _FIRST_RETRY
        while True:
            try:
                async for notice in self._notices():
                    if notice is None:
                        retry = _FIRST_RETRY
                        _log.info("listening_to_the_chain")
                        await self._all()
                    else:
                        await self._one(notice)
            except ChainUnavailableError as error:
                _log.warning("not_listening_to_the_chain", reason=str(error), next_try_seconds=retry)
            await self._timer.sleep(retry)
            retry = min(2 * retry, _LAST_RETRY)

    async def _all(self) -> None:
        # What changed while nobody listened.
        await self._watcher.look()
        await self._settle()

    async def _one(self, notice: Notice) -> None:
        for _ in range(_TRIES):
            try:
                await self._watcher.look_at(notice.address, min_slot=notice.slot)
            except ChainUnavailableError:
                await self._timer.sleep(_SLOT_SECONDS)
            else:
                await self._settle()
                return
