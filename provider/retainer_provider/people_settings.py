"""What people in browsers get, in the settings file: [panel] and [free_tier]."""

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

_MOUNT: Final = re.compile(r"/([A-Za-z0-9._~-]+/)*\Z")
_PATTERN: Final = re.compile(r"/[\x21-\x29\x2b-\x7e]*\*?\Z")
_ADDRESS_SHARE: Final = 5
_TARGET: Final = re.compile(r"/[\x21-\x22\x24-\x3e\x40-\x7e]*(\?[\x21-\x22\x24-\x7e]*)?\Z")
_POINTER: Final = re.compile(r"(/([^~]|~[01])*)?\Z")
QUESTION: Final = "{question}"
"""Stands where a person's question goes."""


class AskSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[panel.ask]: the request that a question becomes. ``{question}`` stands in `path`'s query, or in `body`."""

    path: str
    method: Literal["GET", "POST"] = "POST"
    body: dict[str, Any] = field(default_factory=lambda: {"question": QUESTION})
    answer: str = "/answer"

    def __post_init__(self) -> None:
        if not _TARGET.match(self.path) or QUESTION in self.bare_path:
            raise ValueError(
                f'`path` starts with "/", such as "/v1/ask" or "/v1/search?q={QUESTION}"; {QUESTION} stands behind the '
                '"?" only, since what stands before it decides on the price'
            )
        if self.method == "GET" and QUESTION not in self.path:
            raise ValueError(f'a GET has no body: put {QUESTION} into `path`, such as "/v1/search?q={QUESTION}"')
        if self.method == "POST" and QUESTION not in self.path and not _holds_question(self.body):
            raise ValueError(
                f"put {QUESTION} where the question goes: into a text of `body`, or behind the ? of `path`"
            )
        if not _POINTER.match(self.answer):
            raise ValueError('`answer` is a JSON pointer to what is shown, such as "/answer", or "" for all of it')

    @property
    def bare_path(self) -> str:
        """Without its query: what is priced."""
        return self.path.partition("?")[0]


class PanelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[panel]: the web panel, and what it may reach. Off without `path`."""

    path: str | None = None
    public_url: str | None = None
    rpc_urls: tuple[str, ...] = ()
    ask: AskSettings | None = None

    def __post_init__(self) -> None:
        if self.path is not None and not _MOUNT.match(self.path):
            raise ValueError(
                '`path` is where the panel is served: it starts and ends with "/", such as "/" or "/panel/"'
            )
        if self.public_url is not None and not _is_origin(self.public_url, ("https",)):
            raise ValueError(
                "`public_url` is the https address that phones reach this service at, such as "
                "https://api.your-domain.org, without a path"
            )
        for url in self.rpc_urls:
            if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname or " " in url or ";" in url:
                raise ValueError(
                    f"`rpc_urls` are nodes that browsers may ask, such as https://rpc.example.org, not {url!r}"
                )


class FreeTierSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[free_tier]: asks given away, by day and visitor. 0 is none."""

    asks_per_day: Annotated[int, Meta(ge=0, le=10_000)] = 0
    asks_per_address: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    routes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.asks_per_day) != bool(self.routes):
            raise ValueError("`asks_per_day` and `routes` go together: how many asks are free, and on which paths")
        if self.asks_per_address is not None and self.asks_per_address < self.asks_per_day:
            raise ValueError("`asks_per_address` is at least `asks_per_day`: one visitor has one address")
        for pattern in self.routes:
            if not _PATTERN.match(pattern):
                raise ValueError(f'`routes` holds paths such as "/v1/ask" or "/v1/*", not {pattern!r}')

    @property
    def address_most(self) -> int:
        """Free asks a day for all visitors of one address: several people may share one."""
        return self.asks_per_address or self.asks_per_day * _ADDRESS_SHARE


def _holds_question(body: object) -> bool:
    if isinstance(body, str):
        return QUESTION in body
    parts = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    return any(map(_holds_question, parts))


def _is_origin(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    bare = not (parts.path or parts.query or parts.fragment or parts.username)
    return parts.scheme in schemes and bool(parts.hostname) and bare and port_fits
