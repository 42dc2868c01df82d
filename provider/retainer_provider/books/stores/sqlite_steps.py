"""Running steps on SQLite, where a transaction is one thread's."""

from functools import lru_cache
from typing import TypeVar

import apsw

from retainer_provider.books.steps import Ring, Rows, Steps

T = TypeVar("T")


def run_steps(connection: apsw.Connection, steps: Steps[T]) -> tuple[T, bool]:
    """What the steps come to, and whether they ring."""
    rings = False
    try:
        step = next(steps)
        while True:
            rows: Rows = []
            if isinstance(step, Ring):
                rings = True
            else:
                rows = connection.execute(_dialect(step.sql), dict(step.bindings)).fetchall()
            step = steps.send(rows)
    except StopIteration as end:
        return end.value, rings


@lru_cache(maxsize=256)
def _dialect(sql: str) -> str:
    return sql.replace("CLOCK()", "unixepoch('subsec')")
