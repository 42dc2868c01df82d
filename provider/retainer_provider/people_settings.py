"""What people in browsers get, in the settings file: [panel] and [free_tier]."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta, Struct

_MOUNT: Final = re.compile(r"/([A-Za-z0-9._~-]+/)*\Z")
_PATTERN: Final = re.compile(r"/[\x21-\x29\x2b-\x7e]*\*?\Z")
_ADDRESS_SHARE: Final = 5


class PanelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[panel]: the web panel, and what it may reach. Off without `path`."""

    path: str | None = None
    public_url: str | None = None
    rpc_urls: tuple[str, ...] = ()

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


def _is_origin(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    bare = not (parts.path or parts.query or parts.fragment or parts.username)
    return parts.scheme in schemes and bool(parts.hostname) and bare and port_fits
