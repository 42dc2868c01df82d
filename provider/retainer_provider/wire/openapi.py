"""Descriptions for tools that read OpenAPI: the JSON API, and what the gated routes cost.

Prices stand where draft-payment-discovery-00 has them: `x-payment-info` on each operation, in a document at
`/openapi.json`. The challenge of a 402 has the last word.
"""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

from retainer.protocol.amounts import format_amount
from retainer.protocol.constants import INTENT, METHOD
from retainer.protocol.encoding import Json
from retainer.protocol.tokens import token_symbol
from retainer_provider.offers import Offer
from retainer_provider.wire.routing import Priced

DISCOVERY_PATH: Final = "/openapi.json"
_READY: Final = "Whether the service sees the chain and can write its books; 503 and the reasons where it cannot"
PAYMENT_REQUIRED: Final[dict[str, Json]] = {
    "description": "Payment required: a problem (RFC 9457) with a fresh challenge in WWW-Authenticate",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}
# What a gated route takes is its upstream's to say; these are the two that most do.
_METHODS: Final = ("get", "post")


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


def openapi_document(title: str, prefix: str, offers: Iterable[Offer] = ()) -> dict[str, Json]:
    """OpenAPI 3.1 of the JSON API under `prefix`, and of the routes that `offers` price."""
    paths: dict[str, Json] = {}
    for offer in offers:
        for route, tariff in offer.routes.items():
            path = route.replace("*", "{path}")
            paths[path] = {method: _priced(Priced(offer, tariff), path) for method in _METHODS}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version("retainer")},
        "paths": {**paths, **_api(prefix)},
        "components": {"securitySchemes": {"payment": {"type": "http", "scheme": "Payment"}}},
    }


def _priced(target: Priced, path: str) -> Json:
    parameter: Json = {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}
    operation: dict[str, Json] = {
        "summary": target.offer.description or f"Paid from a session of {target.offer.id}",
        "security": [{"payment": []}],
        "responses": {"200": {"description": "The service's answer, with a receipt"}, "402": PAYMENT_REQUIRED},
        "x-payment-info": payment_info(target),
    }
    return {**operation, "parameters": [parameter]} if "{path}" in path else operation


def _api(prefix: str) -> dict[str, Json]:
    session: dict[str, Json] = {
        "get": {
            "summary": "One session, for whoever shows the credential that pays its requests; nothing is charged",
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "security": [{"payment": []}],
            "responses": {"200": _json("The session"), "402": PAYMENT_REQUIRED},
        }
    }
    return {
        f"{prefix}/offers": _page("What is for sale, on which terms"),
        f"{prefix}/health": _page(_READY),
        f"{prefix}/healthz": _page("Whether the process answers at all"),
        f"{prefix}/readyz": _page(_READY),
        f"{prefix}/sessions/{{id}}": session,
    }


def _page(summary: str) -> dict[str, Json]:
    return {"get": {"summary": summary, "responses": {"200": _json(summary)}}}


def _json(description: str) -> dict[str, Json]:
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}
