"""Logging: structured, to standard error, and never a key, a signature or a credential (F27)."""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final, Literal

import structlog
from structlog.typing import Processor

REDACTED: Final = "[redacted]"

_SECRET_NAMES: Final = re.compile(
    r"authori[sz]ation|proof|secret|keypair|private|password|cookie|credential|signed|raw|signature", re.IGNORECASE
)
# A transaction's signature names it on chain, which everybody can read: those are what one looks for in a log.
_PUBLIC_NAMES: Final = frozenset({"creation_signature", "settlement_signature", "transaction"})
# In other people's texts (exceptions, access logs): a credential, a keypair as a JSON array, 64 bytes of base58.
_SECRET_TEXTS: Final = re.compile(
    r"Payment +[\w-]{16,}|\[\s*\d{1,3}(?:\s*,\s*\d{1,3}){31,}\s*\]|\b[1-9A-HJ-NP-Za-km-z]{86,88}\b", re.IGNORECASE
)

EventDict = MutableMapping[str, Any]

REQUEST: Final = ContextVar("retainer_request", default="")
"""The id of the request that is being answered: each of its records names it."""


def configure_logging(level: str, form: Literal["console", "json"]) -> None:
    """Send structlog's and the standard library's records through one redacting chain to standard error."""
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    renderer: Processor = structlog.processors.JSONRenderer() if form == "json" else console
    _configure(structlog.stdlib.ProcessorFormatter.wrap_for_formatter)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _drop_colors, *_chain()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # They log every URL they ask, and an RPC URL may carry an API key. solana-py brings the second pair.
    for name in ("httpx", "httpcore", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def redact_by_default() -> None:
    """Where a host program has not configured structlog: its default would print local variables with every error."""
    if not structlog.is_configured():
        _configure(structlog.processors.KeyValueRenderer(key_order=["event"]))


def _configure(last: Processor) -> None:
    structlog.configure(
        # By level first, so that what nobody reads costs nothing.
        processors=[structlog.stdlib.filter_by_level, *_chain(), last],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # The standard wrapper would hand the exception on beside its redacted text.
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=False,
    )


def _chain() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _name_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]


def _name_request(_logger: object, _method: str, event: EventDict) -> EventDict:
    if number := REQUEST.get():
        event.setdefault("request", number)
    return event


def _drop_colors(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Uvicorn sends each of its messages twice, once with escape sequences."""
    event.pop("color_message", None)
    return event


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace what must not be written down, by its name and by its look."""
    for name, value in event.items():
        if name not in _PUBLIC_NAMES and not name.startswith("_"):
            event[name] = REDACTED if _SECRET_NAMES.search(name) else _redact_value(value)
    return event


def _redact_value(value: object) -> object:
    match value:
        case str():
            return _SECRET_TEXTS.sub(REDACTED, value)
        case bytes() | bytearray():
            return f"<{len(value)} bytes>"
        case dict():
            return {
                key: REDACTED if _SECRET_NAMES.search(str(key)) else _redact_value(entry)
                for key, entry in value.items()
            }
        case list() | tuple():
            return _SECRET_TEXTS.sub(REDACTED, repr(value))
        case None | bool() | int() | float():
            return value
        case _:
            return _SECRET_TEXTS.sub(REDACTED, str(value))
