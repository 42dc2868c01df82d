"""A metered answer that flows: written down before each part of it leaves, cut when its reservation is used up.

It ends with an event that holds its receipt, after one that says why where it ends before its time. Whatever has been
handed to the connection is delivered, and charged, though the process die at once (F11); what has not, is not (F12).
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


Keep = Callable[[Delivered], Awaitable[bool]]
"""Makes durable what will have been delivered once the next part is; False where that part may not leave."""

Book = Callable[[Delivered], Awaitable[str | None]]
"""Charges what was delivered and returns the receipt, None where that could not be booked."""


class _Sent:
    """What a stream comes to so far: never changed, so that what was not kept in the end leaves no trace."""

    def __init__(self, units: int = 0, digest: "hashlib._Hash | None" = None, length: int = 0) -> None:
        self.units = units
        self._digest = digest or hashlib.sha256()
        self._length = length

    def with_more(self, data: bytes, units: int | None = None) -> "_Sent":
        """The same after ``data`` as well, and at a price of ``units`` in all."""
        digest = self._digest.copy()
        digest.update(data)
        return _Sent(self.units if units is None else units, digest, self._length + len(data))

    def delivered(self) -> Delivered:
        """As it is booked."""
        return Delivered(self.units, self._digest.digest(), self._length)


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
        *,
        keep: Keep,
        book: Book,
        max_units: int,
        limits: StreamLimits,
        clock: Clock,
    ) -> None:
        self.head = head
        self._flow = flow
        self._count = count
        self._keep = keep
        self._book = book
        self._max_units = max_units
        self._limits = limits
        self._clock = clock
        self._ends_at = clock.monotonic() + limits.duration
        self._splitter = EventSplitter()
        self._sent = _Sent()
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
                detail = f"All {self._max_units} units reserved for this stream are used: ask again for more."
                return await self._last(taken, _problem(ProblemType.UNITS_EXHAUSTED, detail))
            if len(self._splitter.rest) > self._limits.event:
                return await self._last(taken, _broken(UpstreamFailure.TOO_LARGE))
            if not taken.data:
                continue
            if not await self._keep(taken.sent.delivered()):
                return await self._last(_Taken(b"", self._sent), _problem(ProblemType.SERVICE_UNAVAILABLE, _LOST))
            self._sent = taken.sent
            return taken.data
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

    def _taken(self, events: list[bytes]) -> tuple["_Taken", bool]:
        """The events that are paid for, and whether there is one that no unit is left for."""
        taken = _Taken(b"", self._sent)
        for one in events:
            units = self._count.after(one)
            if units > self._max_units:
                return taken, True
            taken = taken.and_then(one, units)
        return taken, False

    async def _end(self, failure: UpstreamFailure | None) -> bytes:
        if failure is not None:
            return await self._last(_Taken(b"", self._sent), _broken(failure))
        rest = self._splitter.rest
        return await self._last(self._taken([rest + _END_OF_EVENT] if rest.strip() else [])[0])

    async def _last(self, taken: "_Taken", problem: bytes = b"") -> bytes:
        """What is sent last: this, why there is no more, and the receipt for all; booked before any of it leaves."""
        self._over = True
        self._flow.close()
        taken = taken.and_then(problem)
        self._sent = taken.sent
        receipt = await self._booked()
        if receipt is None:
            return _problem(ProblemType.SERVICE_UNAVAILABLE, _LOST)
        return taken.data + event(RECEIPT_EVENT, receipt)

    async def _booked(self) -> str | None:
        """The receipt, booked once; in a task, since who waits for it may be cancelled with its client."""
        if self._booking is None:
            self._booking = asyncio.ensure_future(self._book(self._sent.delivered()))
        return await asyncio.shield(self._booking)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Bytes that are about to leave, and what the stream comes to with them."""

    data: bytes
    sent: _Sent

    def and_then(self, data: bytes, units: int | None = None) -> "_Taken":
        """With more, at a price of ``units`` in all."""
        return _Taken(self.data + data, self.sent.with_more(data, units))


def _problem(problem: ProblemType, detail: str) -> bytes:
    return event("error", json.dumps(stream_problem(problem, detail)))


def _broken(failure: UpstreamFailure) -> bytes:
    return _problem(ProblemType.UPSTREAM_UNAVAILABLE, _BROKEN[failure])


_LOST: Final = (
    "The stream can be charged no further, so it ends here. Ask again under its key: the answer is the receipt for "
    "what came before this, or the stream anew if that was not charged."
)

_BROKEN: Final = {
    UpstreamFailure.TIMEOUT: "The stream took too long. What came before this is charged.",
    UpstreamFailure.TOO_LARGE: "The service behind sent an event that is too large. What came before this is charged.",
    UpstreamFailure.BROKEN: "The service behind broke off. What came before this is charged.",
    UpstreamFailure.UNREACHABLE: "The service behind broke off. What came before this is charged.",
}
