"""Collecting garbage in a process that only serves."""

import gc
from typing import Final

# Objects more than before at which the youngest are looked through; Python begins at 700. A running request has up to a
# hundred, so that under load these would be looked through all the time, and found alive. Serving makes no cycles: what
# a request has used is gone with its last reference.
_YOUNG: Final = 10_000


def collect_seldom() -> None:
    """What is there by now stays: never look through it again, and through what is new only now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
