"""Answers lost with a process: the next one finds the key in the store, asks under it again, and pays once."""

import asyncio
from pathlib import Path

import httpx
import pytest

from retainer.protocol.problems import ProblemType
from retainer.stores import create_sqlite_channel_store
from tests.unit.client.conftest import Stage
from tests.unit.client.service import PRICE, URL


class Lost:
    """While `breaking`, serves each paid request and loses the answer; notes the keys of all paid ones."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.breaking = stage, True
        self.keys: list[str] = []
        stage.service.before = self

    async def __call__(self, request: httpx.Request) -> httpx.Response | None:
        if "Authorization" not in request.headers or "Idempotency-Key" not in request.headers:
            return None
        self.keys.append(request.headers["Idempotency-Key"])
        if not self.breaking:
            return None
        self.stage.service.before = None
        await self.stage.service(request)
        self.stage.service.before = self
        raise httpx.ReadError("the connection broke", request=request)


async def test_the_next_process_gets_the_lost_answer_and_pays_once(stage: Stage, tmp_path: Path) -> None:
    lost, store = Lost(stage), create_sqlite_channel_store(tmp_path / "sessions.sqlite")
    async with stage.another(store=store) as first:
        with pytest.raises(httpx.ReadError):
            await first.request("POST", URL, content=b"question")
    lost.breaking = False
    async with stage.another(store=create_sqlite_channel_store(tmp_path / "sessions.sqlite")) as second:
        answer = await second.request("POST", URL, content=b"question")
        assert (answer.status_code, answer.extensions["retainer"].spent) == (200, PRICE)
        assert len(set(lost.keys)) == 1
        again = await second.request("POST", URL, content=b"question")
        assert again.extensions["retainer"].spent == 2 * PRICE, "an answered request is asked anew"
    assert stage.service.opened == 1


@pytest.mark.parametrize(
    ("method", "url", "content"),
    [("GET", URL, b"question"), ("POST", URL + "?q=2", b"question"), ("POST", URL, b"another question")],
)
async def test_another_request_does_not_get_that_answer(stage: Stage, method: str, url: str, content: bytes) -> None:
    lost = Lost(stage)
    with pytest.raises(httpx.ReadError):
        await stage.client.request("POST", URL, content=b"question")
    lost.breaking = False
    answer = await stage.client.request(method, url, content=content)
    assert answer.extensions["retainer"].spent == 2 * PRICE
    assert len(set(lost.keys)) == 2


async def test_a_key_that_the_caller_names_is_used_as_it_is(stage: Stage) -> None:
    lost = Lost(stage)
    with pytest.raises(httpx.ReadError):
        await stage.client.request("GET", URL)
    lost.breaking = False
    await stage.client.request("GET", URL, idempotency_key="mine")
    assert lost.keys[-1] == "mine"


async def test_equal_requests_at_once_are_each_asked_and_charged(stage: Stage) -> None:
    """A key that somebody still waits for is not lost, also while its request is tried again."""
    session = await stage.client.create_session(URL, "1.0")
    seen: dict[str, int] = {}

    async def breaks_once(request: httpx.Request) -> httpx.Response | None:
        key = request.headers["Idempotency-Key"]
        seen[key] = seen.get(key, 0) + 1
        await asyncio.sleep(0)
        if seen[key] == 1:
            raise httpx.ReadError("the connection broke", request=request)
        return None

    stage.service.before = breaks_once
    answers = await asyncio.gather(*(stage.client.request("GET", URL) for _ in range(20)))
    assert {answer.extensions["retainer"].retainer.metered.sequence for answer in answers} == set(range(1, 21))
    assert len(seen) == 20
    assert (await stage.client.get_session(session.session_id)).spent == 20 * PRICE


async def test_one_lost_answer_is_taken_up_by_one_of_many(stage: Stage) -> None:
    lost = Lost(stage)
    with pytest.raises(httpx.ReadError):
        await stage.client.request("GET", URL)
    lost.breaking = False
    answers = await asyncio.gather(*(stage.client.request("GET", URL) for _ in range(5)))
    assert {answer.extensions["retainer"].retainer.metered.sequence for answer in answers} == set(range(1, 6))


async def test_a_key_that_stands_for_another_request_there_is_not_tried_again(stage: Stage) -> None:
    lost = Lost(stage)
    with pytest.raises(httpx.ReadError):
        await stage.client.request("GET", URL)

    async def conflicting(request: httpx.Request) -> httpx.Response | None:
        if request.headers.get("Idempotency-Key") == lost.keys[0]:
            return await stage.service.refuse(ProblemType.IDEMPOTENCY_CONFLICT, 422)
        return None

    stage.service.before = conflicting
    assert (await stage.client.request("GET", URL)).status_code == 422
    assert (await stage.client.request("GET", URL)).status_code == 200
