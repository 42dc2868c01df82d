"""Nobody takes the service from the others: how often and how many at once. Nothing here is money, or kept on disk.

Each process counts for itself. A count is a float of seconds per key, so that a million callers cost a bounded table.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from retainer_provider.clock import Clock

BURST_SECONDS: Final = 10
"""What was not used for so long may be used at once."""
_REMEMBERED: Final = 100_000


class Throttle:
    """So many a second for each key, with a burst of `BURST_SECONDS` of them; 0 is no limit.

    The generic cell rate algorithm: per key the moment at which all that was taken is paid off. When more than
    `_REMEMBERED` keys are known, the ones unheard of for longest start afresh.
    """

    def __init__(self, clock: Clock, per_second: int) -> None:
        self._clock = clock
        self._interval = 1 / per_second if per_second else 0.0
        self._paid_off: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until `key` may take one, 0 when it may now."""
        owed = self._paid_off.get(key, 0.0) - self._clock.monotonic() + self._interval
        return max(0.0, owed - BURST_SECONDS) if self._interval else 0.0

    def take(self, key: str) -> float:
        """Take one; otherwise take nothing and say in how many seconds there is one."""
        seconds = self.wait(key)
        if seconds == 0 and self._interval:
            now = self._clock.monotonic()
            self._paid_off[key] = max(self._paid_off.get(key, now), now) + self._interval
            self._paid_off.move_to_end(key)
            if len(self._paid_off) > _REMEMBERED:
                self._paid_off.popitem(last=False)
        return seconds


class Slots:
    """At most so many at once for each key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, key: str = "") -> Iterator[bool]:
        """Whether there was a slot; it is held for as long as the block runs."""
        if self._held[key] >= self._most:
            yield False
            return
        self._held[key] += 1
        try:
            yield True
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
