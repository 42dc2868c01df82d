"""A JSON Schema as an SLA term: published whole, so that its hash is that of the terms and nothing must be fetched.

Only its form is judged here, where no schema is ever run: what an agent reads comes from strangers.
"""

from collections.abc import Iterator
from typing import Final

from retainer.protocol.encoding import Json, canonical_json, read_json
from retainer.protocol.errors import MessageError, TermsError

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# Terms travel in the header of every challenge, and common proxies refuse headers of 8 kB.
MAX_SCHEMA_BYTES: Final = 2_048

_REFERENCES: Final = frozenset({"$ref", "$dynamicRef"})


def canonical_schema(value: object) -> str:
    """The schema's RFC 8785 text; TermsError when it is no object, too large, of another dialect or refers elsewhere.

    Numbers in it are integers, as everywhere in the terms.
    """
    if not isinstance(value, dict):
        raise TermsError("response_schema must be a JSON Schema, which is an object")
    try:
        text = canonical_json(value)
        read_json(text, "response_schema")
    except MessageError as error:
        raise TermsError(f"response_schema: {error}") from None
    if len(text) > MAX_SCHEMA_BYTES:
        raise TermsError(f"response_schema has {len(text)} bytes in canonical form, at most {MAX_SCHEMA_BYTES} fit")
    if value.get("$schema", DIALECT) != DIALECT:
        raise TermsError(f"response_schema is read as {DIALECT}: remove another $schema")
    for name, member in _members(value):
        if name in _REFERENCES and not (isinstance(member, str) and member.startswith("#")):
            raise TermsError(f"response_schema refers to {member!r}: only references into itself (#...) are followed")
        if name == "$id":
            raise TermsError("response_schema has an $id, which would turn its references outward: remove it")
    return text.decode()


def _members(value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield name, member
            yield from _members(member)
    elif isinstance(value, list):
        for member in value:
            yield from _members(member)
