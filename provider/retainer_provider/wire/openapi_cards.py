"""The API of quick session cards in the OpenAPI document: paths, schemas and examples."""

from collections.abc import Mapping, Sequence
from typing import Final

from retainer.protocol.encoding import Json
from retainer.protocol.problems import MEDIA_TYPE
from retainer_provider.wire.schemas import reference

_CARD_ID: Final = "qs-01ARZ3NDEKTSV4RRFFQ69G5FAV"
_TEXT: Final[Json] = {"type": "string"}
_MAYBE: Final[Json] = {"type": ["string", "null"]}
_WORDS: Final[Json] = {"type": "string", "minLength": 1}
_UNITS: Final[Json] = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_ID: Final[Json] = {"type": "string", "pattern": "^qs-[0-7][0-9A-HJKMNP-TV-Z]{25}$"}
_KEY: Final[Json] = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}
# Either is enough: a page's token, or the credential that pays the session's requests.
_SECURITY: Final[Json] = [{"token": []}, {"payment": []}]

_PROBLEMS: Final[Mapping[str, str]] = {
    "400": "The body, a header, the query or an id is not as described",
    "401": "No session token, and no credential",
    "404": "This session has no such card, or nobody of that name answers here",
    "408": "The body did not arrive in time",
    "409": "The card is archived, or needs a title first; or the session has as many cards as it may",
    "413": "The body is too large",
    "422": "The Idempotency-Key was used for another message",
    "429": "This payer or address asks too often, or as many turns of the session wait as may",
    "431": "Target and headers are too large",
    "503": "The books cannot be written, or the service is busy",
}
_CARD: Final[Json] = {
    "id": _CARD_ID,
    "sessionId": "9wFFyRfZBsuAha4YcuxcXLKwMxJR43S7fPfQLusDBzvT",
    "scope": "card",
    "responder": "ada",
    "creator": "me",
    "title": "Tides",
    "titleSource": "responder",
    "status": "active",
    "preview": "The moon pulls.",
    "lines": 2,
    "waiting": 0,
    "turns": 2,
    "units": "2",
    "amount": "16000",
    "lastError": None,
    "createdAt": 1_800_000_000,
    "updatedAt": 1_800_000_004,
}


def card_paths(prefix: str, payment_required: Json, responders: Sequence[str]) -> dict[str, Json]:
    """Paths below `prefix`, where anybody answers; `payment_required` describes a 402."""
    if not responders:
        return {}
    who: Json = {"enum": [*responders]}

    def operation(
        summary: str, answers: Mapping[str, Json], *parameters: Json, body: Json = None, key: bool = False
    ) -> dict[str, Json]:
        named: list[Json] = [*parameters]
        if key:
            named.append({"name": "Idempotency-Key", "in": "header", "schema": _KEY})
        told: dict[str, Json] = {
            "summary": summary,
            "security": _SECURITY,
            "parameters": named,
            "responses": {**answers, "402": payment_required, **_refusals()},
        }
        if body is not None:
            told["requestBody"] = {"required": True, "content": {"application/json": body}}
        return told

    card: Json = {"name": "card", "in": "path", "required": True, "schema": _ID}
    as_it_is: dict[str, Json] = {"200": _json("The card", "Card", _CARD)}
    message = _message(
        {"author": _WORDS, "body": _WORDS}, {}, {"author": "me", "body": f"Why, as in session:{_CARD_ID}:L2?"}
    )
    paths: dict[str, dict[str, Json]] = {
        "/cards": {
            "get": operation(
                "Cards of the session, last changed first, 100 at most; archived ones only when asked for",
                {"200": _json("The cards", "Cards", {"cards": [_CARD]})},
                _query("archived", {"enum": ["true", "false"]}),
                _query("before", _ID),
            ),
            "post": operation(
                "A new card, with its first message if there is one",
                {"201": _json("The card", "Card", _CARD)},
                body=_message(
                    {"responder": who, "creator": _WORDS},
                    {"title": _WORDS, "message": _WORDS},
                    {"responder": responders[0], "creator": "me", "message": "Why are there tides?"},
                ),
                key=True,
            ),
        },
        "/cards/{card}": {
            "get": operation(
                "A card with lines of its thread, 500 at most, behind the line `after`",
                {"200": _json("It", "Thread")},
                card,
                _query("after", _COUNT),
            )
        },
        "/cards/{card}/messages": {
            "post": operation(
                "Write on a card; its responder answers in a turn that is charged",
                as_it_is,
                card,
                body=message,
                key=True,
            )
        },
        "/cards/{card}/title": {
            "post": operation(
                "Give a card its title",
                as_it_is,
                card,
                body=_message({"title": _WORDS}, {}, {"title": "Tides"}),
            )
        },
        "/cards/{card}/archive": {
            "post": operation("Put a card away: what waits is dropped, uncharged", as_it_is, card)
        },
        "/cards/{card}/retry": {"post": operation("Run the turn again that failed", as_it_is, card)},
        "/cards/events": {
            "get": operation(
                "What happened on the cards after the event `after`; with Accept: text/event-stream, as it happens",
                {"200": _json("Events, and the number of the last", "CardEvents")},
                _query("after", _COUNT),
            )
        },
        "/responders": {
            "get": operation(
                "Who answers, whether they are there, and what a turn costs", {"200": _json("They", "Responders")}
            )
        },
        "/responders/{responder}/ask": {
            "post": operation(
                "Ask outside of all cards, in the same order",
                {"200": _json("The main thread, as a card", "Card", _CARD)},
                {"name": "responder", "in": "path", "required": True, "schema": who},
                body=message,
                key=True,
            )
        },
    }
    return {prefix + path: {**operations} for path, operations in paths.items()}


def card_schemas() -> dict[str, Json]:
    """Name -> schema, for `components`."""
    card: dict[str, Json] = {
        "id": _ID,
        "sessionId": _TEXT,
        "scope": {"enum": ["main", "card"]},
        "responder": _TEXT,
        "creator": _TEXT,
        "title": _MAYBE,
        "titleSource": {"enum": ["person", "responder", None]},
        "status": {"enum": ["needs_title", "running", "active", "error", "archived"]},
        "preview": _TEXT,
        "lines": _COUNT,
        "waiting": _COUNT,
        "turns": _COUNT,
        "units": _UNITS,
        "amount": _UNITS,
        "lastError": _MAYBE,
        "createdAt": _COUNT,
        "updatedAt": _COUNT,
    }
    refers: dict[str, Json] = {
        "ref": _TEXT,
        "card": _ID,
        "line": {"type": ["integer", "null"]},
        "start": _COUNT,
        "end": _COUNT,
        "preview": _MAYBE,
    }
    line: dict[str, Json] = {
        "line": _COUNT,
        "ref": _TEXT,
        "role": {"enum": ["person", "responder"]},
        "author": _TEXT,
        "at": _COUNT,
        "body": _TEXT,
        "answers": {"type": ["integer", "null"]},
        "references": _list(_object(refers)),
    }
    event: dict[str, Json] = {
        "type": {"enum": ["thinking", "done", "error", "blocked", "changed"]},
        "scope": {"enum": ["main", "card"]},
        "session_id": _TEXT,
        "ref": _ID,
        "at": _COUNT,
    }
    responder: dict[str, Json] = {
        "name": _TEXT,
        "home": _TEXT,
        "node": _TEXT,
        "status": {"enum": ["online", "offline"]},
        "offer": _TEXT,
        "price": _UNITS,
        "byUse": {"type": "boolean"},
    }
    return {
        "Card": _object(card),
        "Cards": _object({"cards": _list(reference("Card"))}),
        "Thread": _object({**card, "thread": _list(_object(line))}),
        "CardEvents": _object({"events": _list(_object(event)), "last": _COUNT}),
        "Responders": _object({"responders": _list(_object(responder))}),
    }


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _message(required: Mapping[str, Json], optional: Mapping[str, Json], example: Mapping[str, Json]) -> Json:
    """A body, of which nothing else is taken."""
    whole: Json = {
        "type": "object",
        "required": [*required],
        "properties": {**required, **optional},
        "additionalProperties": False,
    }
    return {"schema": whole, "example": {**example}}


def _object(members: Mapping[str, Json]) -> Json:
    return {"type": "object", "required": [*members], "properties": {**members}}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _json(description: str, schema: str, example: Json = None) -> Json:
    content: dict[str, Json] = {"schema": reference(schema)}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {"application/json": content}}


def _refusals() -> dict[str, Json]:
    content: Json = {MEDIA_TYPE: {"schema": reference("Problem")}}
    return {status: {"description": text, "content": content} for status, text in _PROBLEMS.items()}
