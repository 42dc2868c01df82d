"""What a responder is sent, and what is taken for its answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer_provider.cards.messages import Reply, reply_of, request_body, storable
from retainer_provider.cards.records import Card, CardScope, CardStatus, Line, Role, TurnKind

CARD = Card(
    id="qs-01ARZ3NDEKTSV4RRFFQ69G5FAV",
    session_id="s",
    scope=CardScope.CARD,
    responder="ada",
    creator="me",
    title=None,
    title_source=None,
    preview="",
    lines=5,
    created_at=0,
    updated_at=0,
    status=CardStatus.RUNNING,
    waiting=1,
    turns=0,
    units=0,
    amount=0,
    last_error=None,
)
THREAD = [
    Line(1, Role.PERSON, "me", 0, "one", None),
    Line(2, Role.PERSON, "me", 0, "two", None),
    Line(3, Role.RESPONDER, "ada", 0, "answer one", 1),
    Line(4, Role.PERSON, "me", 0, "three", None),
    Line(5, Role.RESPONDER, "ada", 0, "answer two", 2),
]


@pytest.mark.parametrize(
    ("media", "body", "reply"),
    [
        ("application/json", {"choices": [{"message": {"content": "hi"}}]}, Reply("hi", None)),
        ("application/json; charset=utf-8", {"text": " hi ", "retainer": {"resume": "r"}}, Reply("hi", "r")),
        ("application/json", {"report": 7}, Reply('{"report": 7}', None)),
        ("application/json", {"choices": [{"message": {"content": ""}}]}, None),
        ("application/json", {"text": "a\u0000b\ud800"}, Reply("a\ufffdb?", None)),
        ("text/plain", "plain", Reply("plain", None)),
        ("text/plain", " \n", None),
        (
            "text/event-stream",
            'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: {"text": "b"}',
            Reply("ab", None),
        ),
        ("text/event-stream", "data: [DONE]\n\n", None),
    ],
)
def test_an_answer_is_its_text(media: str, body: object, reply: Reply | None) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    assert reply_of(media, content.encode()) == reply


@given(st.sampled_from(["application/json", "text/event-stream", "text/plain", ""]), st.binary(max_size=200))
def test_any_answer_is_taken_or_none_and_can_be_stored(media: str, body: bytes) -> None:
    reply = reply_of(media, body)
    if reply is not None:
        assert reply.text
        assert storable(reply.text) == reply.text


def sent(line: int, kind: TurnKind = TurnKind.ANSWER) -> list[str]:
    body = json.loads(request_body(CARD, kind, line, THREAD, "r", model="m", stream=True))
    assert (body["model"], body["stream"], body["retainer"]["resume"]) == ("m", True, "r")
    return [message["content"] for message in body["messages"]]


def test_each_answer_stands_behind_its_question_and_the_question_last() -> None:
    assert sent(1)[0] == "one"
    assert sent(2) == ["one", "answer one", "two", "answer two"]
    assert sent(4) == ["one", "answer one", "two", "answer two", "three"]


def test_a_title_is_asked_for_at_the_end() -> None:
    assert sent(4, TurnKind.TITLE)[:-1] == sent(4)
    assert "title" in sent(4, TurnKind.TITLE)[-1]


def test_of_a_long_thread_the_latest_is_sent() -> None:
    lines = [Line(number, Role.PERSON, "me", 0, str(number) + "x" * 30_000, None) for number in range(1, 8)]
    body = json.loads(request_body(CARD, TurnKind.ANSWER, 7, lines, None, model=None, stream=False))
    assert [message["content"][0] for message in body["messages"]] == ["5", "6", "7"]
    assert "model" not in body
