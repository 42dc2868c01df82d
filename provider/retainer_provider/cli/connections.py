"""The server's connections: who says nothing, or says it slowly, is dropped and never in the way of others (F21)."""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class BoundedConnection(H11Protocol):
    """One connection; its class holds what all of a server's share. Made by `bounded_connections`."""

    most: ClassVar[int]
    seconds: ClassVar[float]
    waiting: ClassVar[dict["BoundedConnection", asyncio.TimerHandle]]  # for a request's head, the longest first
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection, in the place of the one that has been silent for longest where there are too many."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            next(iter(self.waiting)).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of it, whoever brought it about."""
        self._stop_waiting()
        self._stop_sending()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """What came in; with the head of a request the waiting ends."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """After an answer the next request is waited for, unless it came along already."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._wait()

    def pause_writing(self) -> None:
        """The client takes in its answer more slowly than it comes."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.seconds, self.drop)

    def resume_writing(self) -> None:
        """The client has taken in what there was."""
        super().resume_writing()
        self._stop_sending()

    def drop(self) -> None:
        """End it at once, whatever is on its way."""
        self._stop_waiting()
        self.connections.discard(self)
        self.transport.abort()

    def _wait(self) -> None:
        self._stop_waiting()
        self.waiting[self] = self.loop.call_later(self.seconds, self.drop)

    def _stop_waiting(self) -> None:
        timer = self.waiting.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _stop_sending(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def bounded_connections(*, most: int, seconds: float) -> type[BoundedConnection]:
    """HTTP for one uvicorn server with at most `most` connections.

    Each has `seconds` to send a request's head, and to take in what it is answered. Beyond `most`, the one that has
    been silent for longest makes room; where every one is being answered, the new one is dropped.
    """
    return type("ServersConnection", (BoundedConnection,), {"most": most, "seconds": seconds, "waiting": {}})
