"""RFC 3339 timestamps and Unix seconds; pure, no clock."""

import re
from datetime import UTC, datetime
from typing import Final

from retainer.protocol.errors import MessageError

_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII
)


def format_timestamp(unix_seconds: int) -> str:
    """UTC, whole seconds: ``2026-01-02T03:04:05Z``."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    except (OverflowError, ValueError, OSError):
        raise MessageError(f"{unix_seconds} is not a time between the years 1 and 9999") from None


def parse_timestamp(text: str, what: str) -> int:
    """Unix seconds of an RFC 3339 date-time, fractions dropped; MessageError naming ``what`` otherwise."""
    try:
        if _RFC3339.match(text):
            return int(datetime.fromisoformat(text.upper()).timestamp() // 1)
    except (OverflowError, ValueError):
        pass
    raise MessageError(f"{what} is not an RFC 3339 date-time such as 2026-01-02T03:04:05Z")
