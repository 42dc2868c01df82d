"""The server's connections: who says nothing, or says it slowly, is dropped and never in the way of others (F21)."""

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Requests that may wait for the one before them on their connection: each takes memory before it is looked at.
_PIPELINED: Final = 16


class BoundedConnection(HttpToolsProtocol):
    """One connection; its class holds what all of a server's share. Made by `bounded_connections`."""

    most: ClassVar[int]
    seconds: ClassVar[float]
    head_limit: ClassVar[int]
    waiting: ClassVar[dict["BoundedConnection", asyncio.TimerHandle]]  # for a request's head, the longest first
    _unread: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

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

    def data_received(self, data: bytes) -> None:
        """What came in. The parser keeps a head until it is whole, so that one without an end is refused here."""
        if self._in_head:  # since an earlier piece: all of this one may belong to it
            self._head_bytes += len(data)
            if self._head_bytes > self.head_limit:
                self.send_400_response("The request's head is too large.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. What comes after the body is none, whatever it says (RFC 9110 section 6.5)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head of a request: with it the waiting ends. ValueError refuses it and ends the connection."""
        self._in_head = False
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise ValueError("a request names one host (RFC 9112 section 3.2)")
        if len(self.pipeline) >= _PIPELINED:
            raise ValueError("too many requests at once on one connection")
        super().on_headers_complete()
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


def bounded_connections(*, most: int, seconds: float, head_limit: int) -> type[BoundedConnection]:
    """HTTP for one uvicorn server with at most `most` connections, and heads of at most `head_limit` bytes.

    Each has `seconds` to send a request's head, and to take in what it is answered. Beyond `most`, the one that has
    been silent for longest makes room; where every one is being answered, the new one is dropped.
    """
    shared = {"most": most, "seconds": seconds, "head_limit": head_limit, "waiting": {}}
    return type("ServersConnection", (BoundedConnection,), shared)
