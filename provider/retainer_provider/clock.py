"""The three clocks a service needs, injected so that tests can hold time still.

Deadlines of money are compared with unix time (the chain's own clock decides in the end);
timeouts and latencies use the monotonic clock, which no NTP step can move (F25).
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Source of time."""

    def now(self) -> int:
        """Unix time in whole seconds, rounded down."""
        ...

    def now_ms(self) -> int:
        """Unix time in whole milliseconds, rounded down."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """See ``Clock``."""
        return time.time_ns() // 1_000_000_000

    def now_ms(self) -> int:
        """See ``Clock``."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """See ``Clock``."""
        return time.monotonic()
