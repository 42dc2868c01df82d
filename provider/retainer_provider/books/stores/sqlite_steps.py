"""Running steps on SQLite, where a transaction is one thread's."""

from functools import lru_cache
from typing import TypeVar

import apsw

from retainer_provider.books.steps import Ring, Rows, Steps

T = TypeVar("T")


def run_steps(connection: apsw.Connection, steps: Steps[T]) -> tuple[T, bool]:
    """What the steps come to, and whether they ring."""
    rows: Rows = []
    rings = False
    try:
        while True:
            step = steps.send(rows) if rows else next(steps)
            if isinstance(step, Ring):
                rings, rows = True, []
            else:
                rows = connection.execute(_dialect(step.sql), dict(step.bindings)).fetchall()
    except StopIteration as end:
        return end.value, rings


@lru_cache(maxsize=256)
def _dialect(sql: str) -> str:
    return sql.replace("CLOCK()", "unixepoch('subsec')")
