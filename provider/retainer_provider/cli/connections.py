"""The server's connections: who says nothing, or says it slowly, is dropped and never in the way of others (F21)."""

import asyncio
from dataclasses import dataclass, field
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Requests that may wait for the one before them on their connection: each takes memory before it is looked at.
_PIPELINED: Final = 16


class BoundedConnection(HttpToolsProtocol):
    """One connection; its class holds what all of a server's share. Made by `bounded_connections`."""

    shared: ClassVar["_Shared"]
    _unread: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection, in the place of the one that has been silent for longest where there are too many."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.shared.most:
            next(iter(self.shared.waiting)).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of it, whoever brought it about."""
        self._stop_waiting()
        self._stop_sending()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What came in. The parser keeps a head until it is whole, so that one without an end is refused here."""
        if self._in_head:  # since an earlier piece: all of this one may belong to it
            self._head_bytes += len(data)
            if self._head_bytes > self.shared.head_limit:
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
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            raise ValueError("a request names one host (RFC 9112 section 3.2)")
        if len(self.pipeline) >= _PIPELINED:
            raise ValueError("too many requests at once on one connection")
        super().on_headers_complete()
        self.cycle.transport = _Whole(self.transport, self.loop)  # type: ignore[assignment]
        self._stop_waiting()

    def on_response_complete(self) -> None:
        """After an answer the next request is waited for, unless it came along already."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._wait()

    def pause_writing(self) -> None:
        """The client takes in its answer more slowly than it comes."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.shared.seconds, self.drop)

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
        self.shared.wait(self)

    def _stop_waiting(self) -> None:
        self.shared.waiting.pop(self, None)

    def _stop_sending(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class _Whole:
    """The transport of one answer: its head waits for its body, which most often comes at once, so both leave together.

    Each write is a call of the system, which costs as much as a fifth of an empty app's whole answer.
    """

    __slots__ = ("_begun", "_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self._begun = False

    def write(self, data: bytes) -> None:
        """The first piece is kept until the second one, or until the loop has nothing else to do for this answer."""
        if not self._begun:
            self._begun, self._head = True, data
            self._loop.call_soon(self._flush)
        elif self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head + data)
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """As of the connection."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection after what was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)


def bounded_connections(*, most: int, seconds: float, head_limit: int) -> type[BoundedConnection]:
    """HTTP for one uvicorn server with at most `most` connections, and heads of at most `head_limit` bytes.

    Each has `seconds` to send a request's head, and to take in what it is answered. Beyond `most`, the one that has
    been silent for longest makes room; where every one is being answered, the new one is dropped.
    """
    return type("ServersConnection", (BoundedConnection,), {"shared": _Shared(most, seconds, head_limit)})


@dataclass(slots=True)
class _Shared:
    """What all of a server's connections have in common.

    All wait equally long for a request's head, so those that began first end first: one timer does for them all.
    """

    most: int
    seconds: float
    head_limit: int
    waiting: dict[BoundedConnection, float] = field(default_factory=dict)  # until when, the longest first
    looking: bool = False

    def wait(self, connection: BoundedConnection) -> None:
        """Drop the connection unless it is taken out of ``waiting`` in time."""
        self.waiting.pop(connection, None)
        until = self.waiting[connection] = connection.loop.time() + self.seconds
        if not self.looking:
            self.looking = True
            connection.loop.call_at(until, self._look, connection.loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self.waiting:
            connection, until = next(iter(self.waiting.items()))
            if until > now:
                loop.call_at(until, self._look, loop)
                return
            connection.drop()
        self.looking = False
