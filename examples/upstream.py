"""A tiny service to meter: it answers a question with its length.

Plain ASGI, so it needs only a server: uvicorn --app-dir examples upstream:app --port 9000
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer any request with what was asked and how long it was."""
    if scope["type"] != "http":
        return
    question = b""
    more = True
    while more:
        message = await receive()
        question += message.get("body", b"")
        more = message.get("more_body", False)
    answer = {"path": scope["path"], "question": question.decode(errors="replace"), "length": len(question)}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
