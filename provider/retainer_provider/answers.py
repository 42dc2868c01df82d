"""A complete HTTP answer, and putting it on the wire of any ASGI server."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from starlette.types import Send

from retainer.protocol.encoding import Json, canonical_json
from retainer_provider import headers

# Answers without a body whose Content-Length, if any, speaks of another one (RFC 9110 section 8.6).
_BODILESS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names in lower case; Content-Length is set when it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def with_headers(self, *added: tuple[str, str]) -> "Answer":
        """The same answer with these headers in the place of any of their names."""
        names = {name for name, _ in added}
        return replace(self, headers=(*(entry for entry in self.headers if entry[0] not in names), *added))


def json_answer(status: int, value: Mapping[str, Json], media_type: str = "application/json") -> Answer:
    """An answer of ours: never stored by any cache, because all of them are about one moment or one session."""
    return Answer(status, (("content-type", media_type), ("cache-control", "no-store")), canonical_json(value))


async def send_answer(send: Send, answer: Answer, method: str) -> None:
    """Send it whole. To HEAD the length is named and the body withheld."""
    kept = answer.headers
    if answer.body or (answer.status not in _BODILESS and method != "HEAD"):
        kept = answer.with_headers(("content-length", str(len(answer.body)))).headers
    await send({"type": "http.response.start", "status": answer.status, "headers": headers.encode(kept)})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})
