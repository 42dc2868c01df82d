"""Clocks for tests of the service, and waiting for what no clock tells."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from retainer.chain.fake import FakeChain

PATIENCE_SECONDS: Final = 120
"""Until something that must come counts as not coming: far longer than it takes on a busy machine."""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once it holds; TimeoutError when it does not come to."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 - what is asked has no event to wait for
            await asyncio.sleep(0.02)


class ChainClock:
    """The fake chain's time as the service's clock, so that both agree and only tests move them.

    ``ahead`` is by how many seconds its wall clock is wrong; what it counts monotonically never is.
    """

    def __init__(self, chain: FakeChain) -> None:
        self._chain = chain
        self._start = 1_800_000_000
        self.ahead = 0

    def now(self) -> int:
        return self.now_ms() // 1000

    def now_ms(self) -> int:
        return (self._start + self.ahead) * 1000 + round(self._chain.monotonic() * 1000)

    def monotonic(self) -> float:
        return self._chain.monotonic()


class Pace:
    """What the workers wait by: each pass ends in a wait that only `tick` ends."""

    def __init__(self) -> None:
        self._workers: set[asyncio.Task[object]] = set()
        self._waiting: dict[asyncio.Task[object], asyncio.Future[None]] = {}
        self._changed = asyncio.Event()

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        worker = asyncio.current_task()
        assert worker is not None
        if worker not in self._workers:
            self._workers.add(worker)
            worker.add_done_callback(self._left)
        self._waiting[worker] = waiter = asyncio.get_running_loop().create_future()
        self._changed.set()
        await waiter

    async def tick(self) -> None:
        """Let everyone make one pass, and come back when they wait again.

        Whoever is still in a pass that had begun before ends it first: it may have looked too early.
        """
        await self._until(self._all_wait)
        due, self._waiting = self._waiting, {}
        for waiter in due.values():
            if not waiter.done():
                waiter.set_result(None)
        await self._until(self._all_wait)

    async def waited_for(self, workers: int) -> None:
        """Come back when so many workers wait."""
        await self._until(lambda: len(self._waiting) >= workers)

    def _all_wait(self) -> bool:
        return self._workers == self._waiting.keys()

    def _left(self, worker: asyncio.Task[object]) -> None:
        self._workers.discard(worker)
        self._waiting.pop(worker, None)
        self._changed.set()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()
