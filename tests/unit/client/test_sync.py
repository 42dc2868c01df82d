"""Synchronous callers: the same sessions, waited for; nothing of the bridge is left behind."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from retainer.bridge import Bridge
from retainer.errors import ClientError
from retainer.protocol.digests import body_digest
from retainer.stores.receipts import read_kept
from retainer.sync_client import SyncSessionClient
from tests.times import PATIENCE_SECONDS
from tests.unit.client.conftest import CAPS, Stage
from tests.unit.client.service import NOW, PRICE, URL


class Relay(httpx.BaseTransport):
    """Reaches the service, which lives on a loop, from a thread that has none."""

    def __init__(self, stage: Stage, bridge: Bridge) -> None:
        self._stage = stage
        self._bridge = bridge

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._bridge.run(self._stage.service(request))


def sync_client(stage: Stage, **more: object) -> SyncSessionClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(stage.service))
    options = {"chain": stage.chain, "timer": stage.chain, "now": lambda: NOW, "caps": CAPS, "http": http}
    return SyncSessionClient(stage.agent, **{**options, **more})


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge("test")
    yield bridge
    bridge.close()


def ask(stage: Stage) -> None:
    with sync_client(stage) as client:
        session = client.create_session(URL, "1.0")
        assert client.request("GET", URL, session=session.session_id).status_code == 200
        assert client.get_session(session.session_id).spent == PRICE
        assert [one.session_id for one in client.sessions()] == [session.session_id]
        closed = client.close_session(session.session_id)
        assert (closed.settled, closed.refunded) == (PRICE, 1_000_000 - PRICE)


async def test_a_session_is_lived_without_a_loop(stage: Stage) -> None:
    await asyncio.to_thread(ask, stage)
    assert not [thread for thread in threading.enumerate() if thread.name == "retainer"]


async def test_a_synchronous_httpx_client_pays_by_itself(stage: Stage, bridge: Bridge) -> None:
    def work() -> None:
        with sync_client(stage) as client, httpx.Client(auth=client.auth, transport=Relay(stage, bridge)) as http:
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(lambda number: http.get(URL, params={"q": number}), range(8)))
            assert [answer.status_code for answer in answers] == [200] * 8
            assert all(answer.extensions["retainer"] for answer in answers)
            [session] = client.sessions()
            assert session.spent == 8 * PRICE

    await asyncio.to_thread(work)


class Streaming(Relay):
    """The same, with bodies that arrive while they are read."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))


async def test_what_a_synchronous_httpx_client_sees_is_kept(stage: Stage, bridge: Bridge, tmp_path: Path) -> None:
    def work() -> None:
        with (
            sync_client(stage, receipts=tmp_path) as client,
            httpx.Client(transport=Streaming(stage, bridge), auth=client.auth) as http,
        ):
            assert http.get(URL).status_code == 200
            [session] = client.sessions()
            [kept] = read_kept(tmp_path, session.session_id)
            assert kept.seen is not None
            assert kept.seen.body_digest == body_digest(b'{"answer": 42}').hex()

    await asyncio.to_thread(work)


async def test_what_goes_wrong_is_raised_where_it_was_asked_for(stage: Stage, bridge: Bridge) -> None:
    def work() -> None:
        with sync_client(stage) as client, pytest.raises(ClientError):
            client.get_session("nothing")
        with pytest.raises(RuntimeError, match="closed"):
            client.sessions()

    await asyncio.to_thread(work)


async def test_an_asynchronous_auth_says_what_to_take_instead(stage: Stage, bridge: Bridge) -> None:
    def work() -> None:
        with (
            httpx.Client(auth=stage.client.auth, transport=Relay(stage, bridge)) as http,
            pytest.raises(ClientError, match="SyncSessionClient"),
        ):
            http.get(URL)

    await asyncio.to_thread(work)


def test_a_bridge_ends_what_still_runs_and_is_closed_once() -> None:
    bridge, ended = Bridge(), threading.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def begin() -> None:
        begin.task = asyncio.create_task(forever())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    bridge.run(begin())
    bridge.close()
    bridge.close()
    assert ended.is_set()
    with pytest.raises(RuntimeError, match="closed"):
        bridge.run(forever())


def test_a_bridge_does_not_wait_for_itself(bridge: Bridge) -> None:
    async def inner() -> None:
        bridge.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="wait for itself"):
        bridge.run(inner())


def test_a_wait_that_is_interrupted_cancels_what_it_waited_for(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupted(_self: object, timeout: float | None = None) -> None:
        assert begun.wait(PATIENCE_SECONDS)
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bridge.run(slow())
    monkeypatch.undo()
    assert cancelled.wait(PATIENCE_SECONDS)
