"""What a route costs in whole units of its offer: a fixed number, or what an answer used, up to a maximum. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from retainer_provider.event_stream import EventSplitter, data_of

COUNT_UNITS: Final = "units"
COUNT_EVENTS: Final = "events"
COUNT_BYTES: Final = "bytes"

COUNTS: Final = frozenset({COUNT_UNITS, COUNT_EVENTS, COUNT_BYTES})
"""What can be counted besides a number in the answer, which a JSON pointer names."""

_LONGEST_FIGURE: Final = 20
# How OpenAI-compatible services end a stream; it holds nothing that was asked for.
_END_OF_DATA: Final = b"[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """``count`` None: every answer costs ``units``. Else what is counted costs a unit for every ``per_unit`` begun.

    Of an answer that costs by use ``max_units`` are reserved, and never more are charged; ``units`` is what one costs
    that does not say what it used. ``stream``: event streams go out as they flow.
    """

    units: int = 1
    max_units: int = 1
    count: str | None = None
    per_unit: int = 1
    stream: bool = False

    @property
    def reads_bodies(self) -> bool:
        """Whether the figure stands in the body, which must then not be compressed."""
        return self.stream or self.count not in {None, COUNT_UNITS, COUNT_BYTES}

    def used(self, said: int | None, body: bytes) -> int:
        """The units that a whole answer costs; ``said`` is the figure that the service gave beside it."""
        counted = self.counted(said, body)
        return self.units if counted is None else self.units_of(counted)

    def counted(self, said: int | None, body: bytes) -> int | None:
        """How many of what is counted an answer used; None where it does not say, or nothing is counted."""
        match self.count:
            case None:
                return None
            case "units":
                return said
            case "bytes":
                return len(body)
            case "events":
                return sum(data_of(event) is not None for event in EventSplitter().feed(body)) or None
            case pointer:
                return figure_at(pointer, body)

    def units_of(self, counted: int) -> int:
        """The units that so many of what is counted cost: those begun, never above the maximum."""
        return min(self.begun(counted), self.max_units)

    def begun(self, counted: int) -> int:
        """The same without the maximum."""
        return -(-counted // (1 if self.count == COUNT_UNITS else self.per_unit))


ONE_UNIT: Final = Tariff()


class RunningCount:
    """What a stream has cost so far, event by event; ``said`` gives the service's own figure at any moment.

    Where a figure in the data counts, data events are counted for as long as none has come: a client that leaves before
    the last event, which has it, still pays for what it got.
    """

    def __init__(self, tariff: Tariff, said: Callable[[], int | None]) -> None:
        self._tariff = tariff
        self._said = said
        self._events = self._bytes = 0
        self._figure: int | None = None

    def after(self, event: bytes) -> int:
        """Units in all once this event is out as well; they may be more than the maximum."""
        data = data_of(event)
        self._bytes += len(event)
        self._events += data is not None and data.strip() != _END_OF_DATA
        tariff = self._tariff
        match tariff.count:
            case None:
                return tariff.units
            case "units":
                counted = self._said()
            case "bytes":
                counted = self._bytes
            case "events":
                counted = self._events
            case pointer:
                found = None if data is None else figure_at(pointer, data)
                self._figure = self._figure if found is None else found
                counted = self._events if self._figure is None else self._figure
        return tariff.units if counted is None else tariff.begun(counted)


def said_units(text: str | None) -> int | None:
    """The number of units in a header; None where there is none, or no whole number."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_FIGURE else None


def figure_at(pointer: str, body: bytes) -> int | None:
    """The whole number at a JSON pointer (RFC 6901) of a document; None where there is none."""
    try:
        found = json.loads(body)
        for token in pointer.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            found = found[name] if isinstance(found, Mapping) else found[int(name)] if name.isdigit() else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
