"""A service in the manner of OpenAI's API to meter by its tokens: it answers with the words of the question, reversed.

Plain ASGI, so it needs only a server: uvicorn --app-dir examples openai_upstream:app --port 9000. In front of it, in
the offer's settings, instead of their `routes`:

    routes = [
      { path = "/v1/chat/completions", max_units = 40, count = "/usage/total_tokens", per_unit = 10, stream = true },
    ]
"""

import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

MODEL = "reverser-1"


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Answer any request as a chat completion, whole or streamed."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        asked = json.loads(body)
        words = [word for entry in asked["messages"] for word in entry["content"].split()]
        most = int(asked.get("max_tokens", 1_000))
    except (ValueError, LookupError, TypeError, AttributeError):
        await _whole(
            send, 400, {"error": {"message": 'send {"messages": [{"role", "content"}]}'}, "usage": _usage(0, 0)}
        )
        return
    given = words[::-1][:most]
    if asked.get("stream"):
        await _streamed(send, [f"data: {json.dumps(chunk)}\n\n" for chunk in _chunks(len(words), given)])
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": " ".join(given)}, "finish_reason": "stop"}
        answer = {"object": "chat.completion", "model": MODEL, "choices": [choice]}
        await _whole(send, 200, {**answer, "usage": _usage(len(words), len(given))})


def _chunks(asked: int, given: list[str]) -> Iterator[dict[str, Any]]:
    """A chunk for each word, and the usage in a last one, as `stream_options.include_usage` has it."""
    chunk = {"object": "chat.completion.chunk", "model": MODEL}
    for word in given:
        yield {**chunk, "choices": [{"index": 0, "delta": {"content": f"{word} "}}]}
    yield {**chunk, "choices": [], "usage": _usage(asked, len(given))}


def _usage(asked: int, given: int) -> dict[str, int]:
    return {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}


async def _whole(send: Send, status: int, answer: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def _streamed(send: Send, events: list[str]) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for event in events:
        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
