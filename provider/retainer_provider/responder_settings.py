"""Quick session cards in the settings file: who answers, [responders.NAME], and how many there may be, [cards]."""

import re
from collections.abc import Container, Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta, Struct

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")
_PATH: Final = re.compile(r"/[\x21-\x3e\x40-\x7e]*\Z")  # no query: a turn's request is its body


class ResponderSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[responders.NAME]: a service that is asked for each turn, and the offer whose sessions pay for it."""

    upstream: str
    offer: str
    node: str = ""
    model: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.upstream)
        at_url = parts.scheme in {"http", "https"} and bool(parts.hostname)
        if not (at_url or self.upstream.startswith("/")) or not _PATH.match(self.path):
            raise ValueError(
                "`upstream` is the URL that turns are sent to, such as http://127.0.0.1:9000/v1/chat, or only a path "
                f"of the metered service, such as /v1/chat, not {self.upstream!r}"
            )

    @property
    def path(self) -> str:
        """The path that prices a turn."""
        return self.upstream if self.upstream.startswith("/") else urlsplit(self.upstream).path or "/"

    @property
    def base(self) -> str | None:
        """Scheme, host and port; None for the metered service itself."""
        parts = urlsplit(self.upstream)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme else None


class CardSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[cards]: what one session may have of cards, which cost nothing until they are answered."""

    most_per_session: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    most_waiting: Annotated[int, Meta(ge=2, le=10_000)] = 100
    """Turns; the first message on a card without a title queues two."""


def require_responders(responders: Mapping[str, ResponderSettings], offers: Container[str]) -> None:
    """ValueError for a name that no text can hold, or an offer that is not there."""
    for name, responder in responders.items():
        if not _NAME.match(name):
            raise ValueError(f"[responders.{name}]: a name is 1 to 40 of a-z, 0-9, - and _, and begins with a-z or 0-9")
        if responder.offer not in offers:
            raise ValueError(f"[responders.{name}]: there is no [offers.{responder.offer}] to pay for its turns")
