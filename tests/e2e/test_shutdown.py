"""A service that is told to stop: what runs is finished and charged, and what is owed to the chain is not forgotten."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_main_job import Town, receipt, sent
from tests.e2e.test_main_job import town as town  # noqa: PLC0414 - a fixture
from tests.serving import client, run, serving
from tests.slow import Slow
from tests.times import until
from tools import oracle
from tools.ports import held_port

pytestmark = pytest.mark.e2e
PRICE = 8_000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as held:
        yield held


async def test_sigterm_finishes_what_runs_and_remembers_what_is_owed(town: Town, port: int) -> None:
    """F11: five requests in flight when the signal comes; all are answered, receipted and charged once."""
    address = f"127.0.0.1:{port}"
    town.config.write_text(town.config.read_text() + f'\n[metrics]\naddress = "{address}"\n')
    slow = Slow()
    async with oracle.running(slow) as upstream:
        environ = {"RETAINER_PROVIDER_UPSTREAM": upstream, "RETAINER_PROVIDER_LOG_FORMAT": "json"}
        environ["RETAINER_PROVIDER_LOG_LEVEL"] = "debug"  # which tells of each request
        async with serving(town.config, environ) as service, client(service.url) as http, httpx.AsyncClient() as probe:
            opening = await town.opened(http)
            assert (await probe.get(f"http://{address}/readyz")).status_code == 200
            asked = [asyncio.ensure_future(sent(http, opening.use(), key=str(number))) for number in range(5)]
            await slow.asked(5)
            service.process.send_signal(signal.SIGTERM)
            await until(partial(takes_nobody, service.url))
            told = await probe.get(f"http://{address}/readyz")
            assert (told.status_code, list(told.json()["problems"])) == (503, ["service"])
            slow.go.set()
            answers = await asyncio.gather(*asked)
            assert {receipt(answer, town.operator).spent for answer in answers} == {PRICE * n for n in range(1, 6)}
            assert await asyncio.wait_for(service.process.wait(), 20) == 0
        events = [json.loads(line) for line in service.log]
        metered = {event["request"] for event in events if event["event"] == "request_metered"}
        assert metered == {answer.headers["x-request-id"] for answer in answers}
        assert events[-1]["event"] == "service_stopped"

    # The close is begun and the process told to stop before the chain has finished it.
    async with serving(town.config) as service, client(service.url) as http:
        closing = asyncio.ensure_future(sent(http, opening.close()))
        await until(partial(has_begun_to_close, town))
        assert await service.terminate() == 0
        await asyncio.gather(closing, return_exceptions=True)
    async with serving(town.config):
        await until(partial(is_settled, town))
    [listed] = json.loads((await run("sessions", "--config", str(town.config), "--json")).out)["sessions"]
    assert (listed["state"], listed["spent"], listed["settled"]) == ("refunded", "40000", "40000")


async def takes_nobody(url: str) -> bool:
    """Whether nobody listens there any more."""
    try:
        async with httpx.AsyncClient() as stranger:
            await stranger.get(f"{url}/api/offers")
    except httpx.TransportError:
        return True
    return False


def state_of(town: Town) -> str:
    """How the only session stands in the books, which another process keeps."""
    with closing(sqlite3.connect(f"file:{town.folder / 'retainer.sqlite'}?mode=ro", uri=True)) as books:
        (state,) = books.execute("SELECT state FROM session").fetchone()
    return str(state)


async def has_begun_to_close(town: Town) -> bool:
    return state_of(town) != "active"


async def is_settled(town: Town) -> bool:
    return state_of(town) == "refunded"


def is_running(process: int) -> bool:
    """Whether it still does anything; one that has ended may wait for its parent to take note of that."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_test_run_leaves_no_database_behind(number: signal.Signals) -> None:
    """The server is a daemon of its own: only a guard that sees us end can stop it."""
    script = "from tools.postgres import postgres\nwith postgres() as url:\n  print(url, flush=True); input()"
    with subprocess.Popen(
        (sys.executable, "-c", script), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run_:
        assert run_.stdout is not None
        folder = Path(run_.stdout.readline().strip().partition("host=")[2].replace("%2F", "/"))
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        assert is_running(server)
        run_.send_signal(number)
    give_up_at = time.monotonic() + 20
    while folder.exists() and time.monotonic() < give_up_at:
        time.sleep(0.1)
    assert not folder.exists()
    assert not is_running(server)
