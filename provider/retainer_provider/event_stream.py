"""Server-sent events as bytes: whole events out of chunks, and events of our own. Pure."""

import re
from typing import Final

MEDIA_TYPE: Final = "text/event-stream"

# The HTML standard's three line ends, twice.
_BETWEEN: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE: Final = re.compile(rb"\r\n|\n|\r")


class EventSplitter:
    """Takes chunks as they come, and gives the events that are complete, blank line included."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """The beginning of an event that is not complete."""
        return self._rest

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that this chunk completes."""
        data, start, events = self._rest + chunk, 0, []
        for between in _BETWEEN.finditer(data, max(0, len(self._rest) - 3)):
            events.append(data[start : between.end()])
            start = between.end()
        self._rest = data[start:]
        return events


def data_of(event: bytes) -> bytes | None:
    """The data of an event, None of a comment or a lone field."""
    lines = [line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def event(name: str, data: str) -> bytes:
    """One event; ``data`` is one line."""
    return f"event: {name}\ndata: {data}\n\n".encode()
