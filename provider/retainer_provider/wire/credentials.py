"""The credentials of requests, read; and those of paid requests known again by their bytes."""

from typing import Final

from starlette.types import Scope

from retainer.protocol.constants import MAX_CREDENTIAL_BYTES
from retainer.protocol.credentials import Credential, parse_authorization
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer_provider.books.records import SessionRecord
from retainer_provider.remembered import Remembered
from retainer_provider.sessions.refusals import refuse
from retainer_provider.wire.head import Head

# Bytes of a header that is kept; with room for long terms, and yet a bound on what all of them take.
_ORDINARY: Final = 8_192


class Bearers:
    """Which session a header pays from, once it has paid: the payer's proof is the same with each of its requests.

    Whatever made it good holds for as long as the process runs: the challenge is ours, the proof is the payer's, and
    the session is of that challenge and payer. What it was opened with is all that is kept of the session; whether it
    still has money, or is open at all, the ledger decides with each write. A header is looked up by a hash that the
    interpreter keys with a secret, so the time it takes tells nothing about other headers.
    """

    def __init__(self) -> None:
        self._known: Remembered[bytes, SessionRecord] = Remembered()

    def session_of(self, header: bytes) -> SessionRecord | None:
        """The session as it was opened; None for a header that has to be read and proven."""
        return self._known.get(header)

    def keep(self, header: bytes, record: SessionRecord) -> None:
        """Know it again. Only for a request that was paid for, by a payer who is proven."""
        # Until a session is active not all that it was opened with is written.
        if len(header) <= _ORDINARY and record.state is SessionState.ACTIVE:
            self._known.keep(header, record)


def read_credential(scope: Scope) -> Credential | None:
    """The Payment credential of a request, None when there is none; RefusedError when it cannot be read."""
    header = Head(scope).payment()
    return None if header is None else parsed(header)


def parsed(header: bytes) -> Credential:
    """The credential in the value of a header; RefusedError when it cannot be read."""
    try:
        return parse_authorization(header.decode("latin-1"), max_bytes=MAX_CREDENTIAL_BYTES)
    except MessageError as error:
        raise refuse(
            ProblemType.MALFORMED_CREDENTIAL, f"The credential cannot be read: {error}. Correct it and send it again."
        ) from None
