"""The syntax of `WWW-Authenticate` (RFC 9110, section 11): schemes, quoted strings, several challenges in one value."""

import re
from collections.abc import Iterator
from typing import Final

from retainer.protocol.constants import MAX_CHALLENGE_BYTES
from retainer.protocol.errors import MessageError

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_END: Final = r"[ \t]*(?:,|\Z)"
_SEPARATORS: Final = re.compile(r"[ \t,]*")
_PARAMETER: Final = re.compile(
    rf'({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*)"){_END}'
)
_SCHEME: Final = re.compile(rf"({_WORD})(?:[ \t]+|(?=,)|\Z)")
_NO_PARAMETERS: Final = re.compile(rf"(?:[A-Za-z0-9\-._~+/]+=*)?{_END}")
_ESCAPED: Final = re.compile(r"\\(.)")


def parse_challenges(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Scheme and parameters (names in lower case, values unescaped) of each challenge in one header value.

    A scheme's token68, which Payment does not have, is passed over. MessageError on anything that is no list of
    challenges, and on a parameter that occurs twice, which two readers could read differently.
    """
    if len(value) > MAX_CHALLENGE_BYTES:
        raise MessageError(f"WWW-Authenticate is longer than {MAX_CHALLENGE_BYTES} bytes")
    position = _skip_separators(value, 0)
    while position < len(value):
        scheme = _SCHEME.match(value, position)
        if scheme is None:
            raise MessageError(f"WWW-Authenticate has no scheme at position {position}")
        position, parameters = _parameters(value, scheme.end())
        yield scheme.group(1), parameters


def _parameters(value: str, position: int) -> tuple[int, dict[str, str]]:
    """The parameters from ``position`` on, and where the next challenge starts."""
    parameters: dict[str, str] = {}
    while (found := _PARAMETER.match(value, position)) is not None:
        name, plain, quoted = found.groups()
        if name.lower() in parameters:
            raise MessageError(f"WWW-Authenticate has the parameter {name[:40]} twice")
        parameters[name.lower()] = plain if plain is not None else _ESCAPED.sub(r"\1", quoted)
        position = _skip_separators(value, found.end())
    if not parameters:
        bare = _NO_PARAMETERS.match(value, position)
        if bare is None:
            raise MessageError(f"WWW-Authenticate is malformed at position {position}")
        position = _skip_separators(value, bare.end())
    return position, parameters


def _skip_separators(value: str, position: int) -> int:
    found = _SEPARATORS.match(value, position)
    return position if found is None else found.end()
