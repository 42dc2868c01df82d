"""Descriptions for tools that read OpenAPI: the JSON API, and what the gated routes cost.

Prices stand where draft-payment-discovery-00 has them: `x-payment-info` on each operation, in a document at
`/openapi.json`. The challenge of a 402 has the last word.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from retainer.protocol.amounts import format_amount
from retainer.protocol.constants import (
    HEADER_CREDENTIAL,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_MAX_UNITS,
    HEADER_RECEIPT,
    HEADER_SESSION,
    INTENT,
    METHOD,
    SCHEME,
)
from retainer.protocol.encoding import Json
from retainer.protocol.problems import MEDIA_TYPE
from retainer.protocol.tokens import token_symbol
from retainer_provider.offers import Offer
from retainer_provider.wire.openapi_cards import card_paths, card_schemas
from retainer_provider.wire.openapi_people import people_paths, people_schemas
from retainer_provider.wire.routing import Priced
from retainer_provider.wire.schemas import reference, schemas

DISCOVERY_PATH: Final = "/openapi.json"
PAYMENT_REQUIRED: Final[dict[str, Json]] = {
    "description": "Payment required: a problem (RFC 9457) with a fresh challenge in WWW-Authenticate",
    "content": {MEDIA_TYPE: {"schema": {"type": "object"}}},
    "headers": {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
}
# What a gated route takes is its upstream's to say; these are the two that most do.
_METHODS: Final = ("get", "post")
_READY: Final = "Whether the service sees the chain, can write its books and is not about to stop"
_KEY: Final[Json] = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}
_SECURITY: Final[Json] = [{"payment": []}]

_PROBLEMS: Final[Mapping[str, str]] = {
    "400": "A doubled or bad header, or a path with two readings",
    "404": "Nothing is served at this path",
    "408": "The request body did not arrive in time",
    "409": "The deposit was used before, or the request with this key is still running",
    "413": "The request body is too large",
    "422": "The Idempotency-Key was used for another request",
    "429": "This payer, or this address without paying, asks too often",
    "431": "Target and headers are too large",
    "502": "The service behind gave no answer; free",
    "503": "The chain cannot be seen, the books cannot be written, or the service is busy",
    "504": "The service behind did not answer in time; free",
}
_REFUSED_LATER: Final = ("429", "503")


def payment_info(target: Priced) -> dict[str, Json]:
    """The `x-payment-info` of an operation at this price; of one that costs by use, at its most."""
    offer, tariff = target.offer, target.tariff
    price, by_use = offer.price * tariff.max_units, "up to " if tariff.count else ""
    name = token_symbol(offer.mint) or str(offer.mint)
    told: dict[str, Json] = {
        "intent": INTENT,
        "method": METHOD,
        "amount": str(price),
        "currency": str(offer.mint),
        "description": f"{by_use}{format_amount(price, offer.decimals)} {name} a request, from a session",
    }
    return {"offers": [told]}


def openapi_document(
    title: str, prefix: str, offers: Iterable[Offer] = (), *, responders: Sequence[str] = ()
) -> dict[str, Json]:
    """OpenAPI 3.1 of the JSON API under `prefix`, of cards that `responders` answer on, and of the `offers`' routes."""
    paths: dict[str, Json] = {}
    for offer in offers:
        for route, tariff in offer.routes.items():
            path = route.replace("*", "{path}")
            paths[path] = {method: _priced(Priced(offer, tariff), method, path) for method in _METHODS}
    scheme: Json = {
        "type": "http",
        "scheme": SCHEME,
        "description": f"{HEADER_CREDENTIAL}: {SCHEME} and a credential that answers the challenge of a 402",
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version("retainer")},
        "paths": {**paths, **_api(prefix), **card_paths(prefix, PAYMENT_REQUIRED, responders)},
        "components": {
            "securitySchemes": {"payment": scheme, "token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schemas(), **people_schemas(), **card_schemas()},
        },
    }


def _priced(target: Priced, method: str, path: str) -> Json:
    parameters: list[Json] = [
        _header(HEADER_IDEMPOTENCY_KEY, "Repeating a request with its key gets the stored answer, charged once", _KEY),
        _header(HEADER_MAX_UNITS, "The most units that the request may cost", {"type": "integer", "minimum": 0}),
        _header(HEADER_SESSION, "An active session, for a challenge that resumes it", {"type": "string"}),
    ]
    if "{path}" in path:
        # The last part of a path may be any number of segments, which OpenAPI has no word for.
        parameters.append(_in_path("path"))
    receipt: Json = {"description": "What was charged, signed by the operator", "schema": {"type": "string"}}
    paid: Json = {
        "description": "The service's answer, or the session after opening, topping up or closing it",
        "headers": {HEADER_RECEIPT: receipt},
    }
    operation: dict[str, Json] = {
        "operationId": f"{method}{path}",
        "summary": target.offer.description or f"Paid from a session of {target.offer.id}",
        "security": _SECURITY,
        "parameters": parameters,
        "responses": {
            "200": paid,
            "202": _json("The session, while the chain has not finished closing it", "Session"),
            "204": {"description": "A replay of an answer too large to be kept: its receipt alone"},
            "402": PAYMENT_REQUIRED,
            **_problems(*_PROBLEMS, behind=True),
            "default": {"description": "Whatever the service behind answers, with a receipt"},
        },
        "x-payment-info": payment_info(target),
    }
    if method == "post":
        operation["requestBody"] = {"content": {"*/*": {"schema": {}}}}
    return operation


def _api(prefix: str) -> dict[str, Json]:
    session: dict[str, Json] = {
        "summary": "One session, for whoever shows the credential that pays its requests; nothing is charged",
        "parameters": [_in_path("id")],
        "security": _SECURITY,
        "responses": {
            "200": _json("The session", "Session"),
            "402": PAYMENT_REQUIRED,
            **_problems("400", "404", *_REFUSED_LATER),
        },
    }
    ready: Json = {"200": _json("It is ready", "Health"), "503": _json("It is not, and why", "Health")}
    return {
        f"{prefix}/offers": _page("What is for sale, on which terms", {"200": _json("The offers", "Offers")}),
        f"{prefix}/health": _page(_READY, ready),
        f"{prefix}/healthz": _page("Whether the process answers at all", {"200": _json("It does", "Alive")}),
        f"{prefix}/readyz": _page(_READY, ready),
        f"{prefix}/openapi.json": _page("This document", {"200": _json("OpenAPI 3.1")}),
        f"{prefix}/sessions/{{id}}": {"get": session},
        **people_paths(prefix, PAYMENT_REQUIRED),
    }


def _page(summary: str, responses: Json) -> dict[str, Json]:
    return {"get": {"summary": summary, "responses": responses}}


def _json(description: str, schema: str | None = None) -> dict[str, Json]:
    content: Json = {"schema": {"type": "object"} if schema is None else reference(schema)}
    return {"description": description, "content": {"application/json": content}}


def _problems(*statuses: str, behind: bool = False) -> dict[str, Json]:
    """Refusals by status; the service `behind` may answer with the same status in its own words."""
    content: dict[str, Json] = {MEDIA_TYPE: {"schema": reference("Problem")}}
    if behind:
        content["*/*"] = {"schema": {}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


def _header(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
