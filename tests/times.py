"""Clocks for tests of the service."""

from retainer.chain.fake import FakeChain


class ChainClock:
    """The fake chain's time as the service's clock, so that both agree and only tests move them."""

    def __init__(self, chain: FakeChain) -> None:
        self._chain = chain
        self._start = 1_800_000_000

    def now(self) -> int:
        return self.now_ms() // 1000

    def now_ms(self) -> int:
        return self._start * 1000 + round(self._chain.monotonic() * 1000)

    def monotonic(self) -> float:
        return self._chain.monotonic()
