"""Ports for processes that are still to be started, or will be started again."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A loopback port that the system gives to nobody else while the block runs.

    It is bound, and not listened on: whoever names it can listen there, as often as it likes, because both allow
    reuse; and whoever asks for any port gets another one. On a busy machine many ask between two starts of a service.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port
