"""Clocks for tests of the service."""

import asyncio

from retainer.chain.fake import FakeChain


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
        self._waiting: list[asyncio.Future[None]] = []
        self._changed = asyncio.Condition()

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        async with self._changed:
            self._waiting.append(waiter)
            self._changed.notify_all()
        await waiter

    async def tick(self) -> None:
        """Let everyone who waits make one pass, and come back when they wait again."""
        due, self._waiting = self._waiting, []
        for waiter in due:
            if not waiter.done():
                waiter.set_result(None)
        await self.waited_for(len(due))

    async def waited_for(self, workers: int) -> None:
        """Come back when so many workers wait."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) >= workers)
