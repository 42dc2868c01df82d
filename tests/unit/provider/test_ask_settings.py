"""[panel.ask]: a question has a place in the request, or the table says what is wrong with it."""

from typing import Any

import msgspec
import pytest

from retainer_provider.people_settings import AskSettings


def settings(**told: Any) -> AskSettings:  # noqa: ANN401 - as a settings file says it
    return msgspec.convert(told, AskSettings)


@pytest.mark.parametrize(
    "told",
    [
        {"path": "/v1/ask"},
        {"path": "/v1/ask?lang=en"},
        {"path": "/v1/search?q={question}", "method": "GET"},
        {"path": "/v1/search?q={question}", "body": {}},
        {"path": "/v1/chat", "body": {"messages": [{"role": "user", "content": "Briefly: {question}"}]}},
        {"path": "/v1/ask", "answer": ""},
        {"path": "/v1/ask", "answer": "/choices/0/delta/content"},
    ],
)
def test_what_has_a_place_for_the_question_is_taken(told: dict[str, Any]) -> None:
    chosen = settings(**told)
    assert chosen.path == told["path"]
    assert "?" not in chosen.bare_path


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"path": "v1/ask"}, "starts with"),
        ({"path": "/v1/ask#top"}, "starts with"),
        ({"path": "/v1/{question}"}, "decides on the price"),
        ({"path": "/v1/search", "method": "GET"}, "a GET has no body"),
        ({"path": "/v1/ask", "body": {"text": "always the same"}}, "put {question}"),
        ({"path": "/v1/ask", "body": {"{question}": 1}}, "put {question}"),
        ({"path": "/v1/ask", "answer": "answer"}, "JSON pointer"),
        ({"path": "/v1/ask", "answer": "/a~2"}, "JSON pointer"),
        ({"path": "/v1/ask", "method": "PUT"}, "Invalid enum value"),
        ({}, "missing required field"),
    ],
)
def test_what_has_none_is_refused_with_what_to_do(told: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        settings(**told)
    assert why in str(error.value)
