"""Why an upstream gave no answer of its own."""

from enum import StrEnum

from retainer.protocol.errors import RetainerError


class UpstreamFailure(StrEnum):
    """Why there is no answer of the upstream's own."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    BROKEN = "broken"  # it raised, or stopped before its answer was complete


class UpstreamUnreachableError(RetainerError):
    """The upstream could not be connected to, or broke the connection before its answer began."""
