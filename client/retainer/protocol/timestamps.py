"""RFC 3339 timestamps and Unix seconds; pure, no clock."""

import re
from datetime import UTC, datetime
from typing import Final

from retainer.protocol.errors import MessageError

_RFC3339: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII
)


def format_timestamp(unix_seconds: int) -> str:
    """UTC, whole seconds: ``2026-01-02T03:04:05Z``; MessageError outside the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        raise MessageError(f"{unix_seconds} is not a time between the years 1 and 9999") from None


def parse_timestamp(text: str, what: str) -> int:
    """Unix seconds of an RFC 3339 date-time, fractions dropped; MessageError naming ``what`` otherwise."""
    parts = _RFC3339.match(text)
    try:
        if parts is not None:
            date, time, zone = parts.groups()
            return int(datetime.fromisoformat(f"{date}T{time}{zone.upper()}").timestamp())
    except (OverflowError, ValueError):
        pass
    raise MessageError(f"{what} is not an RFC 3339 date-time such as 2026-01-02T03:04:05Z")
