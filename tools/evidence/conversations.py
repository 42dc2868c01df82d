"""Cards under load: responders that count what they are asked, and people who write until they are heard."""

import asyncio
import hashlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tools.evidence.upstream import Upstream
from tools.stage import Service

AGAIN_SECONDS = 0.1


@dataclass(slots=True)
class Responders(Upstream):
    """`asked` has each first request of a turn in order; `executions` counts them by the turn's key."""

    pick: random.Random = field(default_factory=random.Random)
    asked: list[tuple[str, str, int, str]] = field(default_factory=list)  # responder, card, line, kind
    bodies: dict[str, set[str]] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: Request) -> Response:
        """Think for a moment, then answer what the last message says."""
        if request.method == "GET":
            return JSONResponse({"text": "here"})
        body, key = await request.body(), request.headers["Idempotency-Key"]
        said: dict[str, Any] = json.loads(body)
        about = said["retainer"]
        name = about["responder"]
        if key not in self.executions:
            self.asked.append((name, about["card"], about["line"], about["kind"]))
        self.executions[key] = self.executions.get(key, 0) + 1
        self.bodies.setdefault(key, set()).add(hashlib.sha256(body).hexdigest())
        self.running[name] += 1
        self.most_at_once[name] = max(self.most_at_once[name], self.running[name])
        try:
            await asyncio.sleep(self.slow_seconds * self.pick.uniform(0.5, 1.5))
        finally:
            self.running[name] -= 1
        text = "A title" if about["kind"] == "title" else answer_to(said["messages"][-1]["content"])
        return JSONResponse({"text": text, "retainer": {"resume": key}})


def answer_to(question: str) -> str:
    """What every responder says."""
    return f"answer to <{question}>"


@dataclass(slots=True)
class Writer:
    """Calls the nodes in turn with the credential of one session, each request until it is answered."""

    services: Sequence[Service]
    http: httpx.AsyncClient
    header: str
    _turn: "itertools.count[int]" = field(default_factory=itertools.count)
    broken: int = 0

    async def call(self, method: str, path: str, body: Mapping[str, object] | None = None, key: str = "") -> Any:  # noqa: ANN401 - JSON
        """The answer's JSON; a node that is dead, or cannot at the moment, is asked again, or another is."""
        headers = {"Authorization": self.header} | ({"Idempotency-Key": key} if key else {})
        while True:
            service = self.services[next(self._turn) % len(self.services)]
            try:
                answer = await self.http.request(method, f"{service.url}/api/{path}", json=body, headers=headers)
            except httpx.TransportError:
                self.broken += 1
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if answer.is_success:
                return answer.json()
            if not answer.is_server_error:
                raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
            await asyncio.sleep(AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One card, and what is asked on it, in order."""

    writer: Writer
    responder: str
    titled: bool
    questions: Sequence[str]

    async def open(self, number: int) -> str:
        """Make the card; its id."""
        body: dict[str, object] = {"responder": self.responder, "creator": "person"}
        if self.titled:
            body["title"] = f"Card {number}"
        card = await self.writer.call("POST", "cards", body, key=f"card-{number}")
        return str(card["id"])

    async def ask(self, card: str, place: int) -> None:
        """Send one of its questions."""
        body = {"author": "person", "body": self.questions[place]}
        await self.writer.call("POST", f"cards/{card}/messages", body, key=f"message-{place}")

    async def thread(self, card: str) -> Any:  # noqa: ANN401 - JSON
        """The card with its thread."""
        return await self.writer.call("GET", f"cards/{card}")
