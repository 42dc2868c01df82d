"""Challenges: a 402's `WWW-Authenticate: Payment`, issued without state and recognized by an HMAC over its parts."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from retainer.protocol.auth_params import parse_challenges
from retainer.protocol.constants import INTENT, METHOD, MIN_CHALLENGE_SECRET_BYTES, SCHEME
from retainer.protocol.encoding import canonical_json, decode_base64url, encode_base64url, read_json
from retainer.protocol.errors import ChallengeError, MessageError
from retainer.protocol.fields import FieldValueError, text_map
from retainer.protocol.offers import SessionRequest
from retainer.protocol.timestamps import parse_timestamp

REQUIRED_PARAMETERS: Final = ("id", "realm", "method", "intent", "request")
OPTIONAL_PARAMETERS: Final = ("expires", "digest", "description", "opaque")

_METHOD: Final = re.compile(r"[a-z]+\Z", re.ASCII)
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One Payment challenge as it stands on the wire; ``request`` and ``opaque`` stay the base64url text they are."""

    id: str
    realm: str
    method: str
    intent: str
    request: str
    expires: str | None = None
    digest: str | None = None
    description: str | None = None
    opaque: str | None = None

    def session_request(self) -> SessionRequest:
        """What is asked for; MessageError when this is no Solana session challenge or a field is bad."""
        if (self.method, self.intent) != (METHOD, INTENT):
            raise MessageError(f"the challenge is for {self.method}/{self.intent}, not {METHOD}/{INTENT}")
        return SessionRequest.from_json(read_json(decode_base64url(self.request, "request"), "request"))

    def expires_at(self) -> int | None:
        """Unix seconds from which it opens no session; None when it never expires; MessageError when malformed."""
        return None if self.expires is None else parse_timestamp(self.expires, "expires")

    def opaque_values(self) -> dict[str, str]:
        """The issuer's own correlation data; empty when there is none."""
        if self.opaque is None:
            return {}
        try:
            return text_map(read_json(decode_base64url(self.opaque, "opaque"), "opaque"))
        except FieldValueError as error:
            raise MessageError(f"opaque {error}") from None


def issue_challenge(
    secret: bytes,
    realm: str,
    request: SessionRequest,
    *,
    expires: str | None = None,
    digest: str | None = None,
    description: str | None = None,
    opaque: Mapping[str, str] | None = None,
) -> Challenge:
    """A challenge whose id takes ``secret`` to make; ChallengeError when a part cannot stand in a header."""
    require_secret(secret)
    parts = Challenge(
        id="",
        realm=realm,
        method=METHOD,
        intent=INTENT,
        request=encode_base64url(canonical_json(request.to_json())),
        expires=expires,
        digest=digest,
        description=description,
        opaque=None if opaque is None else encode_base64url(canonical_json(dict(opaque))),
    )
    challenge = Challenge(**{**challenge_parameters(parts), "id": _challenge_id(secret, parts)})
    challenge_header(challenge)
    return challenge


def require_secret(secret: bytes) -> None:
    """ChallengeError when the secret is short enough to be guessed."""
    if len(secret) < MIN_CHALLENGE_SECRET_BYTES:
        raise ChallengeError(f"the challenge secret needs at least {MIN_CHALLENGE_SECRET_BYTES} random bytes")


def verify_challenge_id(challenge: Challenge, secrets: Sequence[bytes]) -> bool:
    """Whether one of ``secrets`` (the current one and those rotated out) issued exactly this challenge.

    Every secret is tried and compared in constant time, so the time taken tells nothing about the id.
    """
    found = False
    for secret in secrets:
        require_secret(secret)
        found |= hmac.compare_digest(_challenge_id(secret, challenge).encode(), challenge.id.encode())
    return found


def challenge_header(challenge: Challenge) -> str:
    """The ``WWW-Authenticate`` value; ChallengeError when a part holds what a header cannot (non-ASCII, control)."""
    parameters = challenge_parameters(challenge)
    for name, value in parameters.items():
        if not _VISIBLE.match(value):
            raise ChallengeError(
                f"{name} must be printable ASCII to stand in a header; put other text into the request"
            )
    quoted = (f'{name}="{_escape(value)}"' for name, value in parameters.items())
    return f"{SCHEME} {', '.join(quoted)}"


def parse_challenge_headers(values: Iterable[str]) -> list[Challenge]:
    """Every Payment challenge in the ``WWW-Authenticate`` values, in order; other schemes are passed over.

    MessageError when a value is no list of challenges, or a Payment challenge lacks or repeats a parameter.
    """
    return [
        challenge_from_parameters(parameters)
        for value in values
        for scheme, parameters in parse_challenges(value)
        if scheme.lower() == SCHEME.lower()
    ]


def challenge_from_parameters(parameters: Mapping[str, str]) -> Challenge:
    """The challenge of named parameters, unknown ones ignored; MessageError when one is missing or malformed."""
    for name in REQUIRED_PARAMETERS:
        if name not in parameters:
            raise MessageError(f"challenge.{name} is missing")
    if not parameters["id"]:
        raise MessageError("challenge.id must not be empty")
    if not _METHOD.match(parameters["method"]):
        raise MessageError("challenge.method must be lower-case letters")
    known = {name: parameters[name] for name in (*REQUIRED_PARAMETERS, *OPTIONAL_PARAMETERS) if name in parameters}
    return Challenge(**known)


def challenge_parameters(challenge: Challenge) -> dict[str, str]:
    """The parts that are there, by their names on the wire, in the order a header shows them."""
    parameters = {
        "id": challenge.id,
        "realm": challenge.realm,
        "method": challenge.method,
        "intent": challenge.intent,
        "request": challenge.request,
        "expires": challenge.expires,
        "digest": challenge.digest,
        "description": challenge.description,
        "opaque": challenge.opaque,
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _challenge_id(secret: bytes, parts: Challenge) -> str:
    # Seven slots, always all there, so that an absent part can never be mistaken for its neighbour.
    slots = (
        parts.realm,
        parts.method,
        parts.intent,
        parts.request,
        parts.expires or "",
        parts.digest or "",
        parts.opaque or "",
    )
    return encode_base64url(hmac.new(secret, "|".join(slots).encode(), hashlib.sha256).digest())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
