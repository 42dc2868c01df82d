"""Nobody takes the service from the others: how often and how many at once. Nothing here is money, or kept on disk.

Each process counts for itself. A count is a float of seconds per key, so that a million callers cost a bounded table.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
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
        self._paid_off: OrderedDict[Hashable, float] = OrderedDict()

    def wait(self, key: Hashable) -> float:
        """Seconds until `key` may take one, 0 when it may now."""
        return self._wait(key, self._clock.monotonic()) if self._interval else 0.0

    def take(self, key: Hashable) -> float:
        """Take one; otherwise take nothing and say in how many seconds there is one."""
        if not self._interval:
            return 0.0
        now = self._clock.monotonic()
        seconds = self._wait(key, now)
        if seconds == 0:
            self._paid_off[key] = max(self._paid_off.get(key, now), now) + self._interval
            self._paid_off.move_to_end(key)
            if len(self._paid_off) > _REMEMBERED:
                self._paid_off.popitem(last=False)
        return seconds

    def _wait(self, key: Hashable, now: float) -> float:
        return max(0.0, self._paid_off.get(key, 0.0) - now + self._interval - BURST_SECONDS)


class Slots:
    """At most so many at once for each key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Hashable, int] = {}

    def take(self, key: Hashable = "") -> bool:
        """Take a slot, to be given back; False where there is none."""
        held = self._held.get(key, 0)
        if held >= self._most:
            return False
        self._held[key] = held + 1
        return True

    def give(self, key: Hashable = "") -> None:
        """Give back one that was taken."""
        held = self._held[key]
        if held > 1:
            self._held[key] = held - 1
        else:
            del self._held[key]

    @contextmanager
    def hold(self, key: Hashable = "") -> Iterator[bool]:
        """Whether there was a slot; it is held for as long as the block runs."""
        room = self.take(key)
        try:
            yield room
        finally:
            if room:
                self.give(key)
