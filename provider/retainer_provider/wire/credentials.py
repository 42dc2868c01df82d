"""The credentials of requests: the header found, its text read, and that of a paid request kept for the next one."""

from typing import Final

from starlette.types import Scope

from retainer.protocol.constants import HEADER_CREDENTIAL, MAX_CREDENTIAL_BYTES, SCHEME
from retainer.protocol.credentials import Credential, parse_authorization
from retainer.protocol.errors import MessageError
from retainer.protocol.problems import ProblemType
from retainer_provider.remembered import Remembered
from retainer_provider.sessions.refusals import refuse
from retainer_provider.wire import headers

# Characters of a header that is kept; with room for long terms, and yet a bound on what all of them take.
_ORDINARY: Final = 8_192


class CredentialReader:
    """Reads credentials; what ``keep`` was told of is not parsed again while it comes byte by byte the same.

    A parsed credential proves nothing: whoever issued and signed it is verified by the engine. A header is looked up by
    a hash that the interpreter keys with a secret, so the time it takes tells nothing about other headers.
    """

    def __init__(self) -> None:
        self._read: Remembered[str, Credential] = Remembered()

    def of(self, scope: Scope) -> Credential | None:
        """The Payment credential of a request, None when there is none; RefusedError when it cannot be read."""
        text = _authorization(scope)
        if text is None:
            return None
        return self._read.get(text) or _parsed(text)

    def keep(self, scope: Scope, credential: Credential) -> None:
        """Know it again: the session's next request brings the same. Only for a request that was paid for."""
        text = _authorization(scope)
        if text is not None and len(text) <= _ORDINARY:
            self._read.keep(text, credential)


def read_credential(scope: Scope) -> Credential | None:
    """The Payment credential of a request, None when there is none; RefusedError when it cannot be read."""
    text = _authorization(scope)
    return None if text is None else _parsed(text)


def _authorization(scope: Scope) -> str | None:
    found = headers.values(scope["headers"], HEADER_CREDENTIAL)
    if len(found) > 1:
        raise refuse(ProblemType.REQUEST_MALFORMED, "There is more than one Authorization header: send one.")
    return found[0] if found and found[0].partition(" ")[0].lower() == SCHEME.lower() else None


def _parsed(text: str) -> Credential:
    try:
        return parse_authorization(text, max_bytes=MAX_CREDENTIAL_BYTES)
    except MessageError as error:
        raise refuse(
            ProblemType.MALFORMED_CREDENTIAL, f"The credential cannot be read: {error}. Correct it and send it again."
        ) from None
