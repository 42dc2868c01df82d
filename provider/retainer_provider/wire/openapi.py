"""The API's own description, for tools that read OpenAPI."""

from importlib.metadata import version

from retainer.protocol.encoding import Json

_PROBLEM: dict[str, Json] = {
    "description": "A problem (RFC 9457) with a fresh challenge in WWW-Authenticate",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}


def openapi_document(prefix: str) -> dict[str, Json]:
    """OpenAPI 3.1 of the JSON API under `prefix`; the gated routes are the upstream's to describe."""
    session: dict[str, Json] = {
        "get": {
            "summary": "One session, for its payer: the `use` credential proves it, and nothing is charged",
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "security": [{"payment": []}],
            "responses": {"200": _json("The session"), "402": _PROBLEM},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "retainer", "version": version("retainer")},
        "paths": {
            f"{prefix}/offers": _page("What is for sale, on which terms"),
            f"{prefix}/health": _page("Whether the service sees the chain and can write its books"),
            f"{prefix}/sessions/{{id}}": session,
        },
        "components": {"securitySchemes": {"payment": {"type": "http", "scheme": "Payment"}}},
    }


def _page(summary: str) -> dict[str, Json]:
    return {"get": {"summary": summary, "responses": {"200": _json(summary)}}}


def _json(description: str) -> dict[str, Json]:
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}
