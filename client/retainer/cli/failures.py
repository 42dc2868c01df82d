"""How the command line fails: one sentence, and an exit status that a script can act on."""

import json
from enum import IntEnum
from typing import Final

import click
import httpx

from retainer.chain.errors import ChainError, SendOutcomeUnknownError
from retainer.errors import (
    CloseRefusedError,
    CloseUnconfirmedError,
    DishonestServiceError,
    NotDueError,
    OfferError,
    OpeningRefusedError,
    OpeningUnconfirmedError,
    RefusedError,
    StoreError,
    TopUpRefusedError,
    TopUpUnconfirmedError,
    UnknownSessionError,
    WalletError,
)
from retainer.protocol.errors import AmountError, RetainerError


class ExitStatus(IntEnum):
    """What the exit status means; 2 is click's own."""

    OK = 0
    FAILED = 1
    USAGE = 2
    FORBIDDEN = 3
    REFUSED = 4
    ANSWERED_ERROR = 5
    UNREACHABLE = 6
    PENDING = 7
    DISHONEST = 8
    UNKNOWN_SESSION = 9


MEANINGS: Final = {
    ExitStatus.OK: "done",
    ExitStatus.FAILED: "failed for another reason, which stands on stderr",
    ExitStatus.USAGE: "wrong usage, amount or file",
    ExitStatus.FORBIDDEN: "your own caps, pins or answer forbid it; nothing was signed",
    ExitStatus.REFUSED: "the service refused the payment, the opening, the top-up or the close",
    ExitStatus.ANSWERED_ERROR: "the service answered, with an error status",
    ExitStatus.UNREACHABLE: "the service or the RPC could not be reached",
    ExitStatus.PENDING: "not confirmed or not due yet; the same command again goes on waiting",
    ExitStatus.DISHONEST: "receipts or settlement contradict what was done",
    ExitStatus.UNKNOWN_SESSION: "no such session",
}

# The first that fits decides.
_STATUSES: Final[tuple[tuple[tuple[type[Exception], ...], ExitStatus], ...]] = (
    ((RefusedError,), ExitStatus.FORBIDDEN),
    ((OfferError, OpeningRefusedError, TopUpRefusedError, CloseRefusedError), ExitStatus.REFUSED),
    (
        (OpeningUnconfirmedError, TopUpUnconfirmedError, CloseUnconfirmedError, NotDueError, SendOutcomeUnknownError),
        ExitStatus.PENDING,
    ),
    ((DishonestServiceError,), ExitStatus.DISHONEST),
    ((UnknownSessionError,), ExitStatus.UNKNOWN_SESSION),
    ((WalletError, StoreError, AmountError), ExitStatus.USAGE),
    ((ChainError, httpx.TransportError), ExitStatus.UNREACHABLE),
)

FAILURES: Final = (RetainerError, httpx.HTTPError, httpx.InvalidURL)


def exit_status(error: Exception) -> ExitStatus:
    """The status for an error."""
    return next((status for kinds, status in _STATUSES if isinstance(error, kinds)), ExitStatus.FAILED)


def report(error: Exception, *, as_json: bool) -> ExitStatus:
    """Say what went wrong, on stderr, and return the status to exit with."""
    status, message = exit_status(error), str(error) or type(error).__name__
    if as_json:
        kind = type(error).__name__.removesuffix("Error")
        click.echo(json.dumps({"error": {"kind": kind, "status": int(status), "message": message}}), err=True)
    else:
        click.echo(f"{click.style('retainer:', fg='red', bold=True)} {message}", err=True)
    return status
