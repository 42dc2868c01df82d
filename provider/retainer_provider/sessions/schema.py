"""Holding answers against the JSON Schema that an offer's terms publish."""

import asyncio
import json
from functools import lru_cache
from typing import Final, Never

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from retainer.protocol.errors import TermsError
from retainer.protocol.sla import SlaTerms, owes_body

# What takes longer than this to read and check would hold up every other request: it goes to a thread.
_QUICK_BYTES: Final = 16_384


def require_usable(schema: str) -> None:
    """TermsError when the canonical schema is no JSON Schema, or a reference in it leads nowhere."""
    parsed = json.loads(schema)
    try:
        Draft202012Validator.check_schema(parsed)
        _require_references(parsed, DRAFT202012.create_resource(parsed))
    except SchemaError as error:
        raise TermsError(f"response_schema is no JSON Schema: {error.message}") from None
    except Unresolvable as error:
        raise TermsError(f"response_schema: the reference {error.ref!r} leads nowhere") from None


async def schema_ok(terms: SlaTerms | None, method: str, status: int, body: bytes) -> bool | None:
    """Whether the body fits the schema agreed, for the usage log; None where none was agreed or none applies."""
    if terms is None or terms.response_schema is None or not owes_body(method, status):
        return None
    if len(body) <= _QUICK_BYTES:
        return fits(terms.response_schema, body)
    return await asyncio.to_thread(fits, terms.response_schema, body)


def fits(schema: str, body: bytes) -> bool:
    """Whether ``body`` is JSON that the canonical ``schema`` takes. Pure; what nests too deeply to be read is not."""
    try:
        _validator(schema).validate(json.loads(body, parse_constant=_refuse))
    except (ValueError, ValidationError, RecursionError):
        return False
    return True


@lru_cache(maxsize=64)
def _validator(schema: str) -> Draft202012Validator:
    # A registry of its own: without it, jsonschema would fetch what a reference names.
    return Draft202012Validator(json.loads(schema), registry=Registry())


def _require_references(schema: object, resource: object) -> None:
    resolver = Registry().with_resource("", resource).resolver()  # type: ignore[arg-type]
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            for name in ("$ref", "$dynamicRef"):
                if isinstance(part.get(name), str):
                    resolver.lookup(part[name])
            pending += part.values()
        elif isinstance(part, list):
            pending += part


def _refuse(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
