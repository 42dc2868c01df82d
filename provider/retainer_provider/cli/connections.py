"""The server's connections: who says nothing, or says it slowly, is dropped, and never in the way of the others (F21)."""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


def bounded_connections(*, most: int, seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol with at most `most` connections.

    Each is given `seconds` to send the head of a request, and to take in what it was answered.

    Beyond `most`, the connection that has waited longest without asking anything is dropped for the new one; where
    every one is being answered, the new one is.
    """

    class BoundedConnection(H11Protocol):
        waiting: ClassVar[dict["BoundedConnection", asyncio.TimerHandle]] = {}  # the longest first
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()
            if len(self.connections) > most:
                next(iter(self.waiting))._drop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._taken_in()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete and not self.transport.is_closing():
                self._wait()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(seconds, self._drop)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._taken_in()

        def _taken_in(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def _wait(self) -> None:
            self._stop_waiting()
            self.waiting[self] = self.loop.call_later(seconds, self._drop)

        def _stop_waiting(self) -> None:
            timer = self.waiting.pop(self, None)
            if timer is not None:
                timer.cancel()

        def _drop(self) -> None:
            self._stop_waiting()
            self.connections.discard(self)
            self.transport.abort()

    return BoundedConnection
