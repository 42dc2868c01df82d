"""Credentials: an agent's answer to a challenge, in the header `Authorization: Payment <base64url of JSON>`."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from retainer.protocol import fields
from retainer.protocol.actions import Action, action_from_json, action_to_json
from retainer.protocol.canonical_vouchers import canonical_voucher
from retainer.protocol.challenges import (
    OPTIONAL_PARAMETERS,
    REQUIRED_PARAMETERS,
    Challenge,
    challenge_from_parameters,
    challenge_parameters,
)
from retainer.protocol.constants import INTENT, MAX_CREDENTIAL_BYTES, METHOD, SCHEME
from retainer.protocol.encoding import canonical_json, decode_base64url, encode_base64url, read_json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields

# Bytes of a challenge that is known again: those that are kept must not take much memory.
_ORDINARY: Final = 4_096
_SCHEME: Final = SCHEME.lower()


@dataclass(frozen=True, slots=True)
class Credential:
    """The challenge being answered, echoed unchanged, and what is asked for."""

    challenge: Challenge
    action: Action


def authorization_header(credential: Credential) -> str:
    """The ``Authorization`` value. It holds a bearer token: never log it."""
    message = canonical_json(
        {
            "challenge": {**challenge_parameters(credential.challenge)},
            "payload": action_to_json(credential.action),
        }
    )
    return f"{SCHEME} {encode_base64url(message)}"


def parse_authorization(value: str, *, max_bytes: int = MAX_CREDENTIAL_BYTES) -> Credential:
    """Read an ``Authorization`` value; MessageError names the field in every bad case.

    Nothing is verified yet: neither who issued the challenge nor any signature.
    """
    if len(value) > max_bytes:
        raise MessageError(f"Authorization is longer than {max_bytes} bytes")
    scheme, _, written = value.strip(" \t").partition(" ")
    written = written.lstrip(" ")
    if scheme.lower() != _SCHEME or not written or " " in written:
        raise MessageError(f"Authorization is not of the form '{SCHEME} <base64url>'")
    data = decode_base64url(written, "the credential")
    parts = _parts(data)
    if parts is not None:
        challenge, payload = _echoed(bytes(parts.challenge)), bytes(parts.payload)
        voucher = canonical_voucher(payload)
        if voucher is not None:
            return Credential(challenge, voucher)
        said = Fields(read_json(payload, "the credential"), "credential.payload")
        return Credential(challenge, action_from_json(said))
    message = Fields(read_json(data, "the credential"), "credential")
    return Credential(_challenge(message.inside("challenge")), action_from_json(message.inside("payload")))


class _Parts(msgspec.Struct):
    challenge: msgspec.Raw
    payload: msgspec.Raw


def _parts(data: bytes) -> _Parts | None:
    """The two parts as they are written, where these and nothing else are there; None for any other text."""
    try:
        parts = msgspec.json.decode(data, type=_Parts)
    except (ValueError, RecursionError):
        return None
    canonical = b"".join((b'{"challenge":', parts.challenge, b',"payload":', parts.payload, b"}")) == data
    return parts if canonical and len(parts.challenge) <= _ORDINARY else None


# Each request of a session echoes the same challenge.
@lru_cache(maxsize=4_096)
def _echoed(text: bytes) -> Challenge:
    return _challenge(Fields(read_json(text, "the credential"), "credential.challenge"))


def _challenge(echo: Fields) -> Challenge:
    names = (*REQUIRED_PARAMETERS, *OPTIONAL_PARAMETERS)
    challenge = challenge_from_parameters({name: echo.require(name, fields.text) for name in names if name in echo})
    if (challenge.method, challenge.intent) != (METHOD, INTENT):
        raise MessageError(f"challenge.method and challenge.intent must be {METHOD} and {INTENT}")
    return challenge
