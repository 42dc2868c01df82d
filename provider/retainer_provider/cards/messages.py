"""What a responder is sent and what it answers: chat completions, as most services of language models take them. Pure.

Any other service does as well: an answer that is JSON of another shape, or text, is taken as it is.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from retainer.protocol.encoding import Json
from retainer_provider.cards.records import Card, Line, Role, TurnKind
from retainer_provider.cards.titles import MAX_GRAPHEMES
from retainer_provider.event_stream import MEDIA_TYPE, EventSplitter, data_of

JSON_TYPE: Final = "application/json"
_CONTEXT_CHARACTERS: Final = 100_000
_NAME_IT: Final = (
    f"Give this conversation a title of one line and at most {MAX_GRAPHEMES} characters, in its own language. "
    "Answer with the title alone."
)
_ROLES: Final = {Role.PERSON: "user", Role.RESPONDER: "assistant"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a responder said, and what it gave to go on with, if it did."""

    text: str
    resume: str | None


def request_body(
    card: Card, kind: TurnKind, line: int, lines: Sequence[Line], resume: str | None, *, model: str | None, stream: bool
) -> str:
    """The body of a turn's request: the thread up to its line, the latest of it where it is long; and what names both.

    Each answer stands behind its question, and what was written after this line is for another turn.
    """
    told: list[Json] = []
    room = _CONTEXT_CHARACTERS
    asked = sorted(lines, key=lambda one: (one.answers or one.number, one.number))
    for one in reversed([one for one in asked if (one.answers or one.number) <= line]):
        room -= len(one.body)
        if told and room < 0:
            break
        told.insert(0, {"role": _ROLES[one.role], "content": one.body})
    if kind is TurnKind.TITLE:
        told.append({"role": "user", "content": _NAME_IT})
    about: dict[str, Json] = {
        "card": card.id,
        "scope": str(card.scope),
        "kind": str(kind),
        "responder": card.responder,
        "line": line,
        "resume": resume,
    }
    body: dict[str, Json] = {"messages": told, "stream": stream, "retainer": about}
    return json.dumps(body if model is None else {"model": model, **body})


def reply_of(content_type: str, body: bytes) -> Reply | None:
    """What a whole answer says; None where it says nothing."""
    media, text = content_type.partition(";")[0].strip().lower(), body.decode(errors="replace")
    if media == MEDIA_TYPE:
        splitter = EventSplitter()
        events = splitter.feed(body)
        deltas = [delta_of(event) for event in [*events, splitter.rest]]
        reply = Reply("".join(one.text for one in deltas), _last(one.resume for one in deltas))
    elif media == JSON_TYPE or media.endswith("+json"):
        found = _parsed(text)
        said = None if found is None else _text_of(found, "message")
        reply = Reply(text if said is None else said, _resume_of(found))
    else:
        reply = Reply(text, None)
    clean = storable(reply.text).strip()
    return Reply(clean, reply.resume) if clean else None


def delta_of(event: bytes) -> Reply:
    """What one event of a stream adds."""
    data = data_of(event)
    if data is None or data.strip() == b"[DONE]":
        return Reply("", None)
    found = _parsed(data.decode(errors="replace"))
    return Reply("" if found is None else _text_of(found, "delta") or "", _resume_of(found))


def storable(text: str) -> str:
    """The text as every store and JSON reader takes it: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _parsed(text: str) -> Mapping[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Mapping) else None


def _text_of(found: Mapping[str, object], part: str) -> str | None:
    """`text`, or the content of the first choice's `message` or `delta`; None for JSON of another shape."""
    if isinstance(found.get("text"), str):
        return str(found["text"])
    choices = found.get("choices")
    if not isinstance(choices, list):
        return None
    held = choices[0].get(part) if choices and isinstance(choices[0], Mapping) else None
    content = held.get("content") if isinstance(held, Mapping) else None
    return content if isinstance(content, str) else ""


def _resume_of(found: Mapping[str, object] | None) -> str | None:
    about = None if found is None else found.get("retainer")
    resume = about.get("resume") if isinstance(about, Mapping) else None
    return storable(resume) if isinstance(resume, str) else None


def _last(resumes: Iterable[str | None]) -> str | None:
    return next((one for one in reversed([*resumes]) if one is not None), None)
