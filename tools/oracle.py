"""A small service for people to ask: it answers questions in a sentence, and slowly when it is told to.

Its responders answer on cards: `ada` counts, and `bert` remembers what was said before. A message that begins with
`fail` gets no answer at the first try.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

SLOW_SECONDS = 2.5
"""Longer than the demonstration's SLA allows: such an answer costs nothing."""

RESPONDERS = ("ada", "bert")
TITLE_WORDS = 6
PAUSE_SECONDS = 0.03
FIRST_TRY = "-0"  # how the key of a turn's first attempt ends


async def answer(request: Request) -> JSONResponse:
    """What a question holds; one that begins with `slow` takes longer than was promised."""
    try:
        question = str(json.loads(await request.body())["question"])
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": 'send {"question": "..."}'}, 400)
    if question.lower().startswith("slow"):
        await asyncio.sleep(SLOW_SECONDS)
    return JSONResponse({"answer": counted(question)})


def counted(question: str) -> str:
    """What the counting is worth."""
    words = len(question.split())
    told = f"{words} word{'' if words == 1 else 's'}, {len(question)} characters"
    return f"You asked “{question}”: {told}."


async def turn(request: Request) -> Response:
    """A turn of a card, answered in chat completions as a responder's service does."""
    said: dict[str, Any] = await request.json()
    messages: list[str] = [one["content"] for one in said["messages"] if one["role"] == "user"]
    if said["retainer"]["kind"] == "title":
        words = messages[-2].split()
        return JSONResponse({"choices": [{"message": {"content": " ".join(words[:TITLE_WORDS])}}]})
    if messages[-1].lower().startswith("fail") and request.headers["Idempotency-Key"].endswith(FIRST_TRY):
        return JSONResponse({"error": "told to fail"}, 503)
    if messages[-1].lower().startswith("slow"):
        await asyncio.sleep(SLOW_SECONDS)
    name = request.path_params["name"]
    if name == "ada":
        return StreamingResponse(pieces(counted(messages[-1])), media_type="text/event-stream")
    before = f" Before that you said “{messages[-2]}”." if len(messages) > 1 else " It is the first that I hear here."
    return StreamingResponse(pieces(f"I heard “{messages[-1]}”.{before}"), media_type="text/event-stream")


async def pieces(text: str) -> AsyncIterator[str]:
    """The text word by word, as language models write it."""
    for word in text.split(" "):
        yield f"data: {json.dumps({'choices': [{'delta': {'content': word + ' '}}]})}\n\n"
        await asyncio.sleep(PAUSE_SECONDS)
    yield "data: [DONE]\n\n"


def oracle() -> Starlette:
    """The service."""
    return Starlette(
        routes=[Route("/v1/ask", answer, methods=["POST"]), Route("/v1/chat/{name}", turn, methods=["POST"])]
    )


@asynccontextmanager
async def running(app: ASGIApp | None = None) -> AsyncIterator[str]:
    """Serve it, or another one, on a free loopback port while the block runs; yields its URL."""
    app = oracle() if app is None else app
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections from here on, before it is served
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
