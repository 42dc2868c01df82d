"""Serving the web panel's built files: from memory, under a strict content security policy, and nothing else."""

import base64
import gzip
import hashlib
import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from retainer_provider.people_settings import PanelSettings
from retainer_provider.settings import SettingsError
from retainer_provider.wire import headers
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.problems import STATUS_NOT_MODIFIED, STATUS_OK

_INDEX: Final = "index.html"
_API: Final = "/api"  # what the built page says
_HTML: Final = "text/html; charset=utf-8"
# A build puts a hash of the content into these names: what they name never changes.
_HASHED: Final = re.compile(r"[.-][A-Za-z0-9_-]{8,}\.[a-z0-9]+\Z")
_INLINE: Final = re.compile(rb"<(script|style)(?![^>]*\ssrc=)[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
# What a page's own policy, in its head, lets it ask. Both policies hold, so the header may repeat it.
_OWN_CONNECT: Final = re.compile(
    rb"<meta\s+http-equiv=\"Content-Security-Policy\"\s+content=\"[^\"]*connect-src ([^\";]+)"
)
_TEXT: Final = ("text/", "application/javascript", "application/json", "image/svg+xml", "application/manifest+json")
_TYPES: Final[Mapping[str, str]] = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": _HTML,
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".map": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".ico": "image/x-icon",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes | None
    headers: tuple[tuple[str, str], ...]
    etag: str


class Panel:
    """The files below a folder, read once; `path` is where they are served, with a "/" at its end."""

    def __init__(self, settings: PanelSettings, folder: Traversable | None = None, *, api: str = _API) -> None:
        self._path = settings.path or "/"
        folder = files("retainer_provider").joinpath("static") if folder is None else folder
        if not folder.is_dir() or not folder.joinpath(_INDEX).is_file():
            raise SettingsError("[panel]: this installation has no built panel: remove `path`, or build it first")
        self._files = {name: _read(item, settings.rpc_urls, api) for name, item in _walk(folder, "")}

    def file(self, path: str) -> str | None:
        """The name of the file that a path shows; None where it shows none."""
        if not path.startswith(self._path):
            return None
        name = path.removeprefix(self._path) or _INDEX
        return name if name in self._files else None

    def answer(self, name: str, scope: Scope) -> Answer:
        """The file, or that it has not changed."""
        found = self._files[name]
        if found.etag in ",".join(headers.values(scope["headers"], "if-none-match")):
            return Answer(STATUS_NOT_MODIFIED, found.headers, b"")
        accepts = ",".join(headers.values(scope["headers"], "accept-encoding"))
        if found.packed is not None and re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0+)?\s*(,|$))", accepts):
            return Answer(STATUS_OK, (*found.headers, ("content-encoding", "gzip")), found.packed)
        return Answer(STATUS_OK, found.headers, found.body)


def _api_meta(prefix: str) -> bytes:
    """Where the page finds the API: a line of its head."""
    return f'<meta name="retainer-api" content="{prefix}"'.encode()


def _walk(folder: Traversable, prefix: str) -> Iterable[tuple[str, Traversable]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _walk(item, f"{prefix}{item.name}/")
        elif not item.name.startswith("."):
            yield prefix + item.name, item


def _read(item: Traversable, rpc_urls: Iterable[str], api: str) -> _File:
    body = item.read_bytes().replace(_api_meta(_API), _api_meta(api))
    suffix = "." + item.name.rpartition(".")[2]
    kind = _TYPES.get(suffix) or mimetypes.guess_type(item.name)[0] or "application/octet-stream"
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    lasting = "public, max-age=31536000, immutable" if _HASHED.search(item.name) else "no-cache"
    named = (
        ("content-type", kind),
        ("cache-control", lasting),
        ("etag", etag),
        ("vary", "accept-encoding"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin-allow-popups"),
        ("content-security-policy", policy(body if kind == _HTML else b"", rpc_urls)),
    )
    packed = gzip.compress(body, 9, mtime=0) if kind.startswith(_TEXT) else None
    return _File(body, packed if packed is not None and len(packed) < len(body) else None, named, etag)


def policy(page: bytes, rpc_urls: Iterable[str]) -> str:
    """Nothing but this service, and the nodes that the settings name; a page's own inline parts by their hashes.

    The way out, which asks whatever node a payer names, says so in its own policy.
    """
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for match in _INLINE.finditer(page):
        allowed[match[1].decode().lower()].append(
            f"'sha256-{base64.b64encode(hashlib.sha256(match[2]).digest()).decode()}'"
        )
    own = _OWN_CONNECT.search(page)
    asked = own[1].decode() if own else "'self'"
    nodes = [f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, rpc_urls)]
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *allowed["script"])),
            " ".join(("style-src 'self'", *allowed["style"])),
            "img-src 'self' data:",
            "font-src 'self'",
            "manifest-src 'self'",
            " ".join(("connect-src", asked, *nodes)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
