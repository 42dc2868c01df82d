"""What the gated app is told of a request that it serves: in the ASGI scope, out of clients' reach."""

from dataclasses import dataclass
from typing import Final

SCOPE_KEY: Final = "retainer"


@dataclass(frozen=True, slots=True)
class PaidRequest:
    """A request that is paid for, once its answer keeps the SLA: which session pays, and what it was opened for."""

    session_id: str
    offer_id: str
