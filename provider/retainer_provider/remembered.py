"""What was worked out before and cannot come out differently, kept for the next request; never more than so much."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST: Final = 4_096


class Remembered(Generic[K, V]):
    """At most ``most`` results by what they are of; the one unused for longest makes room. For one thread.

    Only for what is true for as long as the process runs, since nothing is ever taken back, and only where forgetting
    costs no more than working it out anew.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: K) -> V | None:
        """What was kept for ``key``, if it still is."""
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
        return found

    def keep(self, key: K, value: V) -> None:
        """Keep it for the next time."""
        self._found[key] = value
        self._found.move_to_end(key)
        if len(self._found) > self._most:
            self._found.popitem(last=False)
