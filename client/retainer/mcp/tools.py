"""Paid tools: read from the prices in a service's OpenAPI document, or named by hand. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import httpx

from retainer.errors import OfferError

Schema: TypeAlias = dict[str, Any]

# What the protocol allows in a name.
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME: Final = 64
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_ARGUMENT_PLACES: Final = ("path", "query")
_ANY_BODY: Final[Schema] = {"description": "The request's body: text as it is, anything else as JSON"}
_QUERY: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "The address's query parameters",
}


@dataclass(frozen=True, slots=True)
class PaidTool:
    """One priced request as a tool. ``places`` says where each argument goes: "path", "query" or "body"."""

    name: str
    method: str
    url: str
    description: str
    properties: Mapping[str, Schema] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    definitions: Mapping[str, Schema] = field(default_factory=dict)

    @property
    def input_schema(self) -> Schema:
        """JSON Schema of the arguments."""
        schema: Schema = {"type": "object", "properties": dict(self.properties), "additionalProperties": False}
        if self.required:
            schema["required"] = list(self.required)
        if self.definitions:
            schema["$defs"] = dict(self.definitions)
        return schema

    def request(self, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The address, and what httpx builds the request from; ValueError names an argument that is wrong."""
        unknown = sorted(arguments.keys() - self.properties.keys())
        if unknown:
            raise ValueError(
                f"{self.name} has no argument {unknown[0]}; it takes {', '.join(self.properties) or 'none'}"
            )
        missing = [name for name in self.required if name not in arguments]
        if missing:
            raise ValueError(f"{self.name} needs the argument {missing[0]}")
        url = self.url
        query: dict[str, Any] = {}
        parameters: dict[str, Any] = {}
        for name, value in arguments.items():
            match self.places[name]:
                case "path":
                    url = url.replace(f"{{{name}}}", _segments(name, str(value)))
                case "query" if isinstance(value, Mapping):
                    query |= {str(key): str(one) for key, one in value.items()}
                case "query":
                    query[name] = value
                case _:
                    parameters |= {"content": value} if isinstance(value, str) else {"json": value}
        return url, ({"params": query} if query else {}) | parameters


def named_tool(text: str) -> PaidTool:
    """A tool from ``NAME=METHOD URL``; ValueError says what is wrong with the text."""
    name, _, target = text.partition("=")
    method, _, url = target.strip().partition(" ")
    if not name or _FOREIGN.search(name) or len(name) > _LONGEST_NAME:
        raise ValueError(f"{text!r}: a tool's name has letters, digits, _ and - only: NAME=METHOD URL")
    if method.lower() not in _METHODS or httpx.URL(url.strip()).scheme not in ("http", "https"):
        raise ValueError(f"{text!r} does not read NAME=METHOD URL, like ask=POST https://api.example/ask")
    return _with_arguments(PaidTool(name, method.upper(), url.strip(), f"{method.upper()} {url.strip()}"))


def described(tool: PaidTool, price: str) -> PaidTool:
    """The tool with what a call costs in its description."""
    return replace(tool, description=f"{tool.description}. Paid: {price}")


def priced_tools(document: object, base: str) -> list[PaidTool]:
    """The operations of an OpenAPI document that are paid from sessions; OfferError where it has none.

    ``base`` is the service's own address: requests go there, whatever servers the document names.
    """
    found: list[PaidTool] = []
    schemas = _mapping(_mapping(_mapping(document).get("components")).get("schemas"))
    for path, operations in _mapping(_mapping(document).get("paths")).items():
        for method, operation in _mapping(operations).items():
            price = _price(_mapping(operation))
            if method in _METHODS and price is not None:
                tool = _tool(method, path, _mapping(operation), schemas)
                found.append(described(replace(tool, url=base.rstrip("/") + path), price))
    if not found:
        raise OfferError(f"{base} names no prices in its OpenAPI document; name its tools with --tool")
    return _apart(found)


def _tool(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> PaidTool:
    properties: dict[str, Schema] = {}
    places: dict[str, str] = {}
    required: list[str] = []
    for parameter in map(_mapping, operation.get("parameters") or []):
        place, argument = parameter.get("in"), str(parameter.get("name"))
        if place in _ARGUMENT_PLACES:
            properties[argument] = _local(dict(_mapping(parameter.get("schema"))))
            places[argument] = str(place)
            if place == "path" or parameter.get("required"):
                required.append(argument)
    body = _mapping(operation.get("requestBody"))
    if body:
        content = _mapping(body.get("content"))
        schema = dict(_mapping(_mapping(content.get("application/json")).get("schema")))
        properties["body"], places["body"] = _local(schema) if schema else _ANY_BODY, "body"
        if body.get("required"):
            required.append("body")
    refers = "$ref" in repr(properties)
    definitions = {name: _local(dict(_mapping(schema))) for name, schema in schemas.items()} if refers else {}
    if "query" not in places.values() and not body:
        # The gate prices paths, and says nothing about what the service behind it takes in their queries.
        properties, places = {**properties, "query": _QUERY}, {**places, "query": "query"}
    summary = str(operation.get("summary") or operation.get("description") or f"{method.upper()} {path}")
    return PaidTool(
        name=_FOREIGN.sub("_", str(operation.get("operationId") or f"{method}{path}")).strip("_")[:_LONGEST_NAME],
        method=method.upper(),
        url=path,
        description=summary.rstrip("."),
        properties=properties,
        places=places,
        required=tuple(required),
        definitions=definitions,
    )


def _with_arguments(tool: PaidTool) -> PaidTool:
    properties: dict[str, Schema] = {"query": _QUERY}
    places = {"query": "query"}
    if tool.method in ("POST", "PUT", "PATCH"):
        properties, places = {**properties, "body": _ANY_BODY}, {**places, "body": "body"}
    return replace(tool, properties=properties, places=places)


def _segments(name: str, value: str) -> str:
    """A value as part of a path: it may have several segments, and none that leads out of the priced ones."""
    if not {".", "..", ""}.isdisjoint(value.split("/")):
        raise ValueError(f"{name} must be path segments without empty ones, '.' and '..', not {value!r}")
    return quote(value)


def _price(operation: Mapping[str, Any]) -> str | None:
    """What `x-payment-info` says of an operation that sessions pay; None for any other."""
    offers = _mapping(operation.get("x-payment-info")).get("offers")
    for offer in map(_mapping, offers if isinstance(offers, list) else []):
        if (offer.get("method"), offer.get("intent")) == ("solana", "session"):
            return str(offer.get("description") or f"{offer.get('amount')} base units of {offer.get('currency')}")
    return None


def _local(schema: Any) -> Any:  # noqa: ANN401 - JSON Schema is any JSON
    """The schema with its references into the document turned into ones into the tool's own definitions."""
    if isinstance(schema, dict):
        return {
            name: value.replace("#/components/schemas/", "#/$defs/")
            if name == "$ref" and isinstance(value, str)
            else _local(value)
            for name, value in schema.items()
        }
    return [_local(one) for one in schema] if isinstance(schema, list) else schema


def _apart(tools: Iterable[PaidTool]) -> list[PaidTool]:
    """The tools by distinct names: a name means one price."""
    by_name: dict[str, PaidTool] = {}
    for tool in tools:
        if tool.name in by_name:
            raise OfferError(f"two priced operations are both called {tool.name}; name the tools with --tool")
        by_name[tool.name] = tool
    return list(by_name.values())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
