"""A metered answer that flows: counted event by event, cut when its reservation is used up, booked when it ends.

It ends with an event that holds its receipt, after one that says why where it ends before its time. Whatever has been
handed to the connection is delivered, and charged; what has not, is not (F12).
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from retainer.protocol.constants import RECEIPT_EVENT
from retainer.protocol.problems import ProblemType
from retainer_provider.clock import Clock
from retainer_provider.event_stream import EventSplitter, event
from retainer_provider.tariffs import RunningCount
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.failures import UpstreamFailure
from retainer_provider.wire.flow import Flow
from retainer_provider.wire.problems import stream_problem

_END_OF_EVENT: Final = b"\n\n"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What of a stream went out: whole units, and the bytes without the receipt, hashed and counted."""

    units: int
    digest: bytes
    length: int


Book = Callable[[Delivered], Awaitable[str | None]]
"""Charges what was delivered and returns the receipt, None where that could not be booked."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Seconds between two chunks and for all of them; bytes of one event."""

    pause: float = 30
    duration: float = 600
    event: int = 1_048_576


class MeteredStream:
    """``head`` goes out first, then what ``read`` gives. ``aclose`` always, however far the client got."""

    def __init__(
        self,
        head: Answer,
        flow: Flow,
        count: RunningCount,
        book: Book,
        *,
        max_units: int,
        limits: StreamLimits,
        clock: Clock,
    ) -> None:
        self.head = head
        self._flow = flow
        self._count = count
        self._book = book
        self._max_units = max_units
        self._limits = limits
        self._clock = clock
        self._ends_at = clock.monotonic() + limits.duration
        self._splitter = EventSplitter()
        self._digest = hashlib.sha256()
        self._units = self._length = 0
        self._booking: asyncio.Task[str | None] | None = None
        self._over = False
        self._at_end: Callable[[], None] = lambda: None

    async def read(self) -> bytes | None:
        """The next whole events, and at the end the receipt; None after that."""
        while not self._over:
            left = self._ends_at - self._clock.monotonic()
            item = await self._flow.read(min(self._limits.pause, left)) if left > 0 else UpstreamFailure.TIMEOUT
            if not isinstance(item, bytes):
                return await self._end(item)
            taken, used_up = self._taken(self._splitter.feed(item))
            if used_up:
                self._over = True
                self._flow.close()
                detail = f"All {self._max_units} units reserved for this stream are used: ask again for more."
                return taken + await self._last(_problem(ProblemType.UNITS_EXHAUSTED, detail))
            if len(self._splitter.rest) > self._limits.event:
                return taken + await self._end(UpstreamFailure.TOO_LARGE)
            if taken:
                return taken
        return None

    @property
    def patience(self) -> float:
        """Seconds that a client has to take what it is sent."""
        return self._limits.pause

    def at_end(self, release: Callable[[], None]) -> None:
        """Have this called when it is closed."""
        self._at_end = release

    async def aclose(self) -> None:
        """Stop what still runs, and book what went out."""
        self._over = True
        self._flow.close()
        try:
            await self._booked()
        finally:
            self._at_end()
            self._at_end = lambda: None

    def _taken(self, events: list[bytes]) -> tuple[bytes, bool]:
        """The events that are paid for, and whether there is one that no unit is left for."""
        taken = b""
        for one in events:
            units = self._count.after(one)
            if units > self._max_units:
                return taken, True
            self._units = units
            self._went_out(one)
            taken += one
        return taken, False

    async def _end(self, failure: UpstreamFailure | None) -> bytes:
        self._over = True
        self._flow.close()
        if failure is not None:
            return await self._last(_problem(ProblemType.UPSTREAM_UNAVAILABLE, _BROKEN[failure]))
        rest = self._splitter.rest
        return await self._last(self._taken([rest + _END_OF_EVENT])[0] if rest.strip() else b"")

    async def _last(self, before: bytes) -> bytes:
        """What is sent last: this, and the receipt for all."""
        if before.startswith(b"event: error\n"):
            self._went_out(before)
        receipt = await self._booked()
        if receipt is None:
            detail = "The stream could not be booked; what came of it was not charged."
            return before + _problem(ProblemType.SERVICE_UNAVAILABLE, detail)
        return before + event(RECEIPT_EVENT, receipt)

    def _went_out(self, data: bytes) -> None:
        self._digest.update(data)
        self._length += len(data)

    async def _booked(self) -> str | None:
        """The receipt, booked once; in a task, since who waits for it may be cancelled with its client."""
        if self._booking is None:
            units = min(self._units, self._max_units)
            delivered = Delivered(units, self._digest.digest(), self._length)
            self._booking = asyncio.ensure_future(self._book(delivered))
        return await asyncio.shield(self._booking)


def _problem(problem: ProblemType, detail: str) -> bytes:
    return event("error", json.dumps(stream_problem(problem, detail)))


_BROKEN: Final = {
    UpstreamFailure.TIMEOUT: "The stream took too long. What came before this is charged.",
    UpstreamFailure.TOO_LARGE: "The service behind sent an event that is too large. What came before this is charged.",
    UpstreamFailure.BROKEN: "The service behind broke off. What came before this is charged.",
    UpstreamFailure.UNREACHABLE: "The service behind broke off. What came before this is charged.",
}
