"""Credentials: an agent's answer to a challenge, in the header `Authorization: Payment <base64url of JSON>`."""

import re
from dataclasses import dataclass
from typing import Final

from retainer.protocol import fields
from retainer.protocol.actions import Action, action_from_json, action_to_json
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

_HEADER: Final = re.compile(rf"{SCHEME} +(\S+)\Z", re.ASCII | re.IGNORECASE)


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
    header = _HEADER.match(value.strip(" \t"))
    if header is None:
        raise MessageError(f"Authorization is not of the form '{SCHEME} <base64url>'")
    message = Fields(read_json(decode_base64url(header.group(1), "the credential"), "the credential"), "credential")
    return Credential(_challenge(message.inside("challenge")), action_from_json(message.inside("payload")))


def _challenge(echo: Fields) -> Challenge:
    names = (*REQUIRED_PARAMETERS, *OPTIONAL_PARAMETERS)
    challenge = challenge_from_parameters({name: echo.require(name, fields.text) for name in names if name in echo})
    if (challenge.method, challenge.intent) != (METHOD, INTENT):
        raise MessageError(f"challenge.method and challenge.intent must be {METHOD} and {INTENT}")
    return challenge
