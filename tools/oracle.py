"""A small service for people to ask: it answers questions in a sentence, and slowly when it is told to."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SLOW_SECONDS = 2.5
"""Longer than the demonstration's SLA allows: such an answer costs nothing."""


async def answer(request: Request) -> JSONResponse:
    """What a question holds; one that begins with `slow` takes longer than was promised."""
    try:
        question = str(json.loads(await request.body())["question"])
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": 'send {"question": "..."}'}, 400)
    if question.lower().startswith("slow"):
        await asyncio.sleep(SLOW_SECONDS)
    words = len(question.split())
    told = f"{words} word{'' if words == 1 else 's'}, {len(question)} characters"
    return JSONResponse({"answer": f"You asked “{question}”: {told}."})


@asynccontextmanager
async def running() -> AsyncIterator[str]:
    """Serve it on a free loopback port while the block runs; yields its URL."""
    app = Starlette(routes=[Route("/v1/ask", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections from here on, before it is served
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
