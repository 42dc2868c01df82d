"""The paths of the API for people: parse, call one function, serialize."""

import re
from typing import Final

from starlette.types import Scope

from retainer_provider.wire import headers

Segments = dict[str, str]

PATHS: Final = (
    ("GET", "/offers", "offers"),
    ("POST", "/sessions", "open"),
    ("GET", "/sessions/{session}", "session"),
    ("POST", "/sessions/{session}/request", "request"),
    ("POST", "/sessions/{session}/topup", "topup"),
    ("GET", "/sessions/{session}/close", "closing"),
    ("POST", "/sessions/{session}/close", "close"),
    ("POST", "/sessions/{session}/token/challenge", "ask_for_token"),
    ("POST", "/sessions/{session}/token", "replace_token"),
    ("DELETE", "/sessions/{session}/token", "revoke_token"),
    ("GET", "/invoices/{invoice}", "invoice"),
    ("POST", "/invoices/{invoice}/payer", "payer"),
    ("POST", "/invoices/{invoice}/transaction", "transaction"),
    ("GET", "/pay/icon.svg", "icon"),
    ("GET", "/pay/{invoice}", "pay_label"),
    ("POST", "/pay/{invoice}", "pay"),
    ("OPTIONS", "/pay/{invoice}", "pay_options"),
    ("POST", "/recover/challenge", "ask_for_sessions"),
    ("POST", "/recover", "recover"),
    ("POST", "/ask/preview", "preview"),
    ("POST", "/ask", "ask"),
    ("GET", "/events", "events"),
)
"""Method, path below the prefix, and what answers it."""


class Routes:
    """Finds what answers a request. `prefix` stands before every path."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix + "/"
        self._routes = tuple(
            (method, re.compile(re.escape(prefix) + _pattern(path) + r"\Z"), name) for method, path, name in PATHS
        )

    def find(self, scope: Scope) -> tuple[str, Segments] | None:
        """The name and the path's parts; None where this API serves nothing."""
        if not scope["path"].startswith(self._prefix):
            return None  # what is sold should not wait for all of these
        head = scope["method"] == "HEAD"
        for served, pattern, name in self._routes:
            # A stream of events has a body or nothing.
            asked = served == scope["method"] or (head and served == "GET" and name != "events")
            if asked and (match := pattern.match(scope["path"])):
                # With another credential than a token, a session is shown by the API for agents.
                if name == "session" and not _has_bearer(scope):
                    return None
                return name, match.groupdict()
        return None


def _pattern(path: str) -> str:
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[A-Za-z0-9_-]{1,64})", re.escape(path))


def _has_bearer(scope: Scope) -> bool:
    values = headers.values(scope["headers"], "authorization")
    return bool(values) and values[0].lower().startswith("bearer ")
