"""A complete HTTP answer, and putting it on the wire of any ASGI server."""

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.types import Send

from retainer.protocol.encoding import Json, canonical_json
from retainer_provider.wire import headers

_NO_CONTENT: Final = 204
# Answers that have no body whatever their Content-Length says (RFC 9110 section 6.4.1).
_BODILESS: Final = frozenset({_NO_CONTENT, 304})
_FINAL_STATUSES: Final = range(200, 600)
_SUCCESS: Final = 2


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Header names in lower case; Content-Length is set when it is sent. `outcome` is what a counter calls it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    outcome: str = "answered"

    def with_headers(self, *added: tuple[str, str]) -> "Answer":
        """The same answer with these headers in the place of any of their names."""
        names = {name for name, _ in added}
        kept = [entry for entry in self.headers if entry[0] not in names]
        return Answer(self.status, (*kept, *added), self.body, self.outcome)


def json_answer(status: int, value: Mapping[str, Json], media_type: str = "application/json") -> Answer:
    """An answer of ours: never stored by any cache, because all of them are about one moment or one session."""
    return Answer(status, (("content-type", media_type), ("cache-control", "no-store")), canonical_json(value))


def require_status(status: int) -> int:
    """A status that an answer can have; ValueError for what is no final one."""
    if status not in _FINAL_STATUSES:
        raise ValueError(f"{status} is not the status of an answer")
    return status


def is_success(status: int) -> bool:
    """Whether the status says that what was asked for is in the body."""
    return status // 100 == _SUCCESS


def collected(method: str, status: int, named: tuple[tuple[str, str], ...], body: bytes) -> Answer:
    """An app's answer, without a body where HTTP allows none: digests are of what really reaches the client."""
    return Answer(status, named, b"" if _has_no_body(method, status) else body)


async def send_answer(send: Send, answer: Answer, method: str, *added: tuple[str, str]) -> None:
    """Send it whole, with ``added`` in the place of headers of these names. To HEAD the body is withheld."""
    body, ours = answer.body, dict(added)
    if body or not _has_no_body(method, answer.status):
        ours["content-length"] = str(len(body))
    replaced = ours if answer.status != _NO_CONTENT else {*ours, "content-length"}
    kept = headers.encode([entry for entry in answer.headers if entry[0] not in replaced])
    kept += headers.encode(ours.items())
    await send({"type": "http.response.start", "status": answer.status, "headers": kept})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _has_no_body(method: str, status: int) -> bool:
    return method == "HEAD" or status in _BODILESS
