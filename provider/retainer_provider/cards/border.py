"""What comes in with requests about cards: bodies of known shape and size, keys, and places in lists."""

import asyncio
import re
from typing import Final, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope

from retainer.protocol.problems import ProblemType
from retainer_provider.cards.desk import MAX_BODY_BYTES
from retainer_provider.sessions.refusals import refuse

T = TypeVar("T", bound=Struct)

# JSON may write a character in six times its bytes, and names stand beside the message.
MAX_REQUEST_BYTES: Final = 6 * MAX_BODY_BYTES + 16_384
# Numbers go out again, and readers of JSON take them for exact below 2**53 only.
_NUMBER: Final = re.compile(r"[0-9]{1,15}\Z", re.ASCII)


class ClientLeftError(Exception):
    """The client went away before its request was complete: nobody is left to answer."""


class NewCardBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `POST cards`."""

    responder: str
    creator: str
    title: str | None = None
    message: str | None = None


class MessageBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `POST cards/{id}/messages`, and of an ask."""

    author: str
    body: str


class TitleBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `POST cards/{id}/title`."""

    title: str


async def body_of(kind: type[T], receive: Receive, seconds: float) -> T:
    """The request's body, which must be there within `seconds`; RefusedError says what is wrong with it."""
    try:
        async with asyncio.timeout(seconds):
            content = await _read(receive)
    except TimeoutError:
        raise refuse(
            ProblemType.BODY_TOO_SLOW, f"The body did not arrive within {seconds:g} s: send it faster."
        ) from None
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse(ProblemType.REQUEST_MALFORMED, f"The body is not as it must be ({error}): correct it.") from None


async def _read(receive: Receive) -> bytes:
    content, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        content += message.get("body", b"")
        more = message.get("more_body", False)
        if len(content) > MAX_REQUEST_BYTES:
            raise refuse(
                ProblemType.BODY_TOO_LARGE, f"The body exceeds {MAX_REQUEST_BYTES} bytes: send a shorter message."
            )
    return bytes(content)


def asked_for(scope: Scope, name: str) -> str | None:
    """A parameter of the query, given at most once."""
    found = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get(name, [])
    if len(found) > 1:
        raise refuse(ProblemType.REQUEST_MALFORMED, f"`{name}` is given more than once: give it once.")
    return found[0] if found else None


def number_of(text: str | None, name: str) -> int | None:
    """A whole number, where there is one."""
    if text is None:
        return None
    if not _NUMBER.match(text):
        raise refuse(ProblemType.REQUEST_MALFORMED, f"`{name}` must be a whole number: correct it.")
    return int(text)


def flag_of(text: str | None, name: str) -> bool:
    """Whether it says true; a missing one says false."""
    if text not in {None, "true", "false"}:
        raise refuse(ProblemType.REQUEST_MALFORMED, f"`{name}` is true or false: correct it.")
    return text == "true"
