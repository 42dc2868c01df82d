"""What a request must pass before anything is spent on it: the size of its head, and room in the service.

Cheapest first, and before any credential is read (F21).
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import chain
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from retainer.protocol.problems import ProblemType
from retainer_provider.rates import Slots
from retainer_provider.sessions.refusals import Refusal
from retainer_provider.wire.answers import send_answer
from retainer_provider.wire.problems import problem_answer

MAX_HEADERS: Final = 100
_IPV6_NEIGHBOURHOOD: Final = 64
"""The least that an IPv6 network hands out: one customer has all of its addresses."""

_BUSY: Final = Refusal(
    ProblemType.SERVICE_BUSY,
    "This service is answering as many requests as it can: try again after Retry-After. Nothing was charged.",
    retry_after=1,
)


class Door:
    """Lets `most` requests at once into `app`, with heads of at most `head_limit` bytes."""

    def __init__(self, app: ASGIApp, *, head_limit: int, most: int) -> None:
        self._app = app
        self._slots = Slots(most)
        self._too_large = Refusal(
            ProblemType.HEAD_TOO_LARGE,
            f"Target and headers exceed {head_limit} bytes or {MAX_HEADERS} headers: send less. Nothing was charged.",
        )
        self._head_limit = head_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _head_bytes(scope) > self._head_limit or len(scope["headers"]) > MAX_HEADERS:
            await send_answer(send, problem_answer(self._too_large, None), scope["method"])
            return
        if not self._slots.take():
            await send_answer(send, problem_answer(_BUSY, None), scope["method"])
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._slots.give()


def caller_of(scope: Scope) -> str:
    """Whom an unpaid request is counted for: an IPv4 address or an IPv6 network; "" where the server names none."""
    return _neighbourhood((scope.get("client") or ("",))[0])


@lru_cache(maxsize=4_096)
def _neighbourhood(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_NEIGHBOURHOOD), strict=False))
    return str(address)


def _head_bytes(scope: Scope) -> int:
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    # Adds up all names and values: called for every request, so in C.
    return target + len(b"".join(chain.from_iterable(scope["headers"])))
