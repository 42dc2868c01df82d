"""Running steps on PostgreSQL, and hearing the bells of other processes there."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Final, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection

from retainer_provider.books.steps import Bell, Ring, Rows, Steps
from retainer_provider.books.stores.postgres_rows import Connection, Row

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_CHANNEL: Final = "retainer"
_RING: Final = f"NOTIFY {_CHANNEL}"
_LISTEN: Final = f"LISTEN {_CHANNEL}"
_AGAIN_SECONDS: Final = 2.0
_BINDING: Final = re.compile(r":([a-z_]+)")
_CLOCK: Final = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


async def run_steps(connection: Connection, steps: Steps[T]) -> T:
    """What the steps come to."""
    try:
        step = next(steps)
        while True:
            rows: Rows = []
            if isinstance(step, Ring):
                await connection.execute(_RING)
            else:
                cursor = await connection.execute(_dialect(step.sql), step.bindings)
                rows = await cursor.fetchall() if cursor.description else []
            step = steps.send(rows)
    except StopIteration as end:
        value: T = end.value
        return value


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Bell]:
    """A bell that rings for every process on this database. While its connection is lost it is silent."""
    bell = Bell()
    task = asyncio.create_task(_listen(url, bell))
    try:
        yield bell
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _listen(url: str, bell: Bell) -> None:
    while True:
        try:
            async with await AsyncConnection[Row].connect(url, autocommit=True, prepare_threshold=None) as connection:
                await connection.execute(_LISTEN)
                bell.ring()  # what came while nobody listened
                async for _ in connection.notifies():
                    bell.ring()
        except (psycopg.Error, OSError) as error:
            _log.warning("bell_not_heard", reason=" ".join(str(error).split()))
        await asyncio.sleep(_AGAIN_SECONDS)


@lru_cache(maxsize=256)
def _dialect(sql: str) -> str:
    return _BINDING.sub(r"%(\1)s", sql.replace("%", "%%")).replace("CLOCK()", _CLOCK)
