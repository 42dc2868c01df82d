"""The client, the examples and the command line against a real provider process on a real validator."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from solders.keypair import Keypair

from retainer import (
    SessionClient,
    SessionState,
    SpendingCaps,
    Submit,
    SyncSessionClient,
    create_sqlite_channel_store,
    problem_of,
)
from retainer.channels.channel import Channel
from retainer.protocol.problems import ProblemType
from tools.demo import upstream_service
from tools.stage import Stage, stage, write_keypair

ROOT = Path(__file__).parents[2]
SLOT_MS = 50  # finality takes 31 slots

# One stage for all tests of this file: each test has an agent of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stood(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    async with upstream_service() as upstream, stage(folder, upstream=upstream, slot_ms=SLOT_MS) as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="module")
async def agent(stood: Stage) -> Keypair:
    return await stood.new_agent()


async def test_fund_once_ask_many(stood: Stage, agent: Keypair) -> None:
    paid_before = await stood.balance(stood.payee.pubkey())
    async with SessionClient(agent, rpc_url=stood.rpc_url) as client:
        session = await client.create_session(stood.url, deposit_amount="1.0")
        assert await stood.balance(agent.pubkey()) == 4_000_000
        for number in range(30):
            response = await client.request("GET", stood.url, params={"q": number})
            assert response.status_code == 200
        view = await client.get_session(session.session_id)
        assert (view.requests_made, view.remaining, view.state) == (30, 760_000, SessionState.ACTIVE)
        closed = await client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (240_000, 760_000)
    assert await stood.balance(agent.pubkey()) == 4_760_000
    assert await stood.balance(stood.payee.pubkey()) - paid_before == 240_000
    assert await stood.chain.account(session.pda) is None
    assert set(await stood.chain.signatures_for(session.pda)) == {session.creation_signature, closed.signature}


async def test_an_httpx_client_pays_by_itself_and_shares_one_session(stood: Stage, agent: Keypair) -> None:
    async with (
        SessionClient(agent, rpc_url=stood.rpc_url, caps=SpendingCaps(per_session="1.0")) as client,
        httpx.AsyncClient(auth=client.auth, timeout=60) as http,
    ):
        responses = await asyncio.gather(*(http.get(stood.url, params={"q": n}) for n in range(12)))
        assert [response.status_code for response in responses] == [200] * 12
        sequences = {response.extensions["retainer"].retainer.metered.sequence for response in responses}
        assert sequences == set(range(1, 13))
        (session,) = await client.sessions()
        closed = await client.close_session(session.session_id)
    assert closed.settled == 12 * 8_000
    assert await stood.balance(agent.pubkey()) == 5_000_000 - closed.settled


async def test_a_synchronous_program_pays_as_well(stood: Stage, agent: Keypair) -> None:
    def work() -> int:
        caps = SpendingCaps(per_session="1.0")
        with (
            SyncSessionClient(agent, rpc_url=stood.rpc_url, caps=caps) as client,
            httpx.Client(auth=client.auth, timeout=60) as http,
        ):
            for number in range(3):
                assert http.get(stood.url, params={"q": number}).status_code == 200
            (session,) = client.sessions()
            return client.close_session(session.session_id).settled

    assert await asyncio.to_thread(work) == 3 * 8_000
    assert await stood.balance(agent.pubkey()) == 5_000_000 - 3 * 8_000


async def test_a_deposit_that_the_agent_sent_itself_opens_a_session(stood: Stage, agent: Keypair) -> None:
    async with SessionClient(agent, rpc_url=stood.rpc_url) as client:
        session = await client.create_session(stood.url, "1.0", submit=Submit.SELF)
        assert (await client.request("GET", stood.url)).status_code == 200
        assert (await client.close_session(session.session_id)).refunded == 992_000


async def test_a_depleted_session_is_refused_and_charged_nothing(stood: Stage, agent: Keypair) -> None:
    async with SessionClient(agent, rpc_url=stood.rpc_url) as client:
        session = await client.create_session(stood.url, "0.1")
        for _ in range(12):
            assert (await client.request("GET", stood.url)).status_code == 200
        refused = await client.request("GET", stood.url)
        problem = problem_of(refused)
        assert problem is not None
        assert (refused.status_code, problem.type) == (402, ProblemType.SESSION_DEPLETED)
        closed = await client.close_session(session.session_id)
    assert (closed.settled, closed.refunded) == (96_000, 4_000)


async def test_a_repeated_key_is_answered_again_and_charged_once(stood: Stage, agent: Keypair) -> None:
    async with SessionClient(agent, rpc_url=stood.rpc_url) as client:
        session = await client.create_session(stood.url, "1.0")
        first, again = [await client.request("GET", stood.url, idempotency_key="question") for _ in range(2)]
        assert (again.content, again.extensions["retainer"]) == (first.content, first.extensions["retainer"])
        assert (await client.close_session(session.session_id)).settled == 8_000


async def test_the_next_process_takes_over_session_and_lost_key(stood: Stage, agent: Keypair, tmp_path: Path) -> None:
    """The first process ends when its answer has come and before it could take it in."""
    store, arrived = create_sqlite_channel_store(tmp_path / "sessions.sqlite"), asyncio.Event()

    async def hold(_answer: httpx.Response) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with (
        httpx.AsyncClient(timeout=60) as http,
        SessionClient(agent, rpc_url=stood.rpc_url, store=store, http=http) as client,
    ):
        session = await client.create_session(stood.url, "1.0")
        http.event_hooks = {"response": [hold]}
        asking = asyncio.create_task(client.request("GET", stood.url))
        await arrived.wait()
        asking.cancel()
    path = tmp_path / "sessions.sqlite"
    (key,) = (await client_channel(path, agent, session.session_id)).book.outstanding
    async with SessionClient(agent, rpc_url=stood.rpc_url, store=create_sqlite_channel_store(path)) as client:
        answer = await client.request("GET", stood.url)
        assert answer.request.headers["Idempotency-Key"] == key
        assert answer.extensions["retainer"].retainer.metered.sequence == 1
        assert (await client.close_session(session.session_id)).settled == 8_000


async def client_channel(path: Path, agent: Keypair, session_id: str) -> Channel:
    """What the store of a client says about a session at this moment."""
    channel = await create_sqlite_channel_store(path).find(agent.pubkey(), session_id)
    assert channel is not None
    return channel


async def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a Python program."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_ten_line_example_runs(stood: Stage, agent: Keypair, tmp_path: Path) -> None:
    write_keypair(tmp_path / "agent.json", agent)
    example = str(ROOT / "examples" / "client.py")
    status, out, err = await run(example, stood.url, str(tmp_path / "agent.json"), stood.rpc_url)
    assert (status, err) == (0, "")
    lines = out.strip().splitlines()
    assert len(lines) == 31
    assert lines[-1].startswith("settled 0.24 · refunded 0.76 · transaction ")
    assert await stood.balance(agent.pubkey()) == 4_760_000


async def test_the_command_line_from_the_first_ask_to_the_end(stood: Stage, agent: Keypair, tmp_path: Path) -> None:
    write_keypair(tmp_path / "agent.json", agent)
    rpc = ("--rpc-url", stood.rpc_url)
    spending = ("--keypair", str(tmp_path / "agent.json"), "--store", str(tmp_path / "sessions.sqlite"), *rpc)

    async def retainer(*arguments: str) -> tuple[int, str, str]:
        return await run("-m", "retainer.cli", *arguments)

    status, out, err = await retainer("ask", stood.url, *spending)
    assert (status, out) == (3, ""), "no deposit was named"
    assert "--deposit" in err

    status, out, err = await retainer("ask", stood.url, "--deposit", "1.0", *spending)
    assert status == 0, err
    assert json.loads(out)
    assert "charged 0.008 · spent 0.008 of 1.0 · 124 requests left" in err

    status, out, err = await retainer("ask", stood.url, "--times", "3", "--json", *spending)
    assert status == 0, err
    told = json.loads(out)
    assert [answer["status"] for answer in told["answers"]] == [200, 200, 200]
    assert (told["session"]["requestsMade"], told["session"]["spent"]) == (4, "32000")

    status, out, err = await retainer("sessions", *spending)
    assert status == 0, err
    session_id = out.split()[0]
    assert "active · 0.968 of 1.0 left (121 requests at 0.008)" in out

    status, out, err = await retainer("top-up", session_id, "0.5", *spending)
    assert status == 0, err
    assert "active · 1.468 of 1.5 left (183 requests at 0.008)" in out

    status, out, err = await retainer("withdraw", session_id, "--no-wait", *spending)
    assert (status, out) == (1, ""), "it is open"
    assert "request_close" in err

    status, out, err = await retainer("show", session_id, *rpc)
    assert status == 0, err
    assert "metered: the operator names the amount" in out
    assert str(agent.pubkey()) in out

    status, out, err = await retainer("close", session_id, *spending)
    assert status == 0, err
    assert out.startswith("settled 0.032 · refunded 1.468 · transaction ")
    assert await stood.balance(agent.pubkey()) == 4_968_000

    status, out, err = await retainer("show", session_id, "--json", *rpc)
    assert (status, json.loads(out)["status"], json.loads(out)["refunded"]) == (0, "gone", "1468000"), err

    bounds = ("--deposit", "0.104", "--top-up", "0.016", "--max-deposit", "0.12")
    status, out, err = await retainer("ask", stood.url, "--times", "14", *bounds, *spending)
    assert status == 0, err
    assert "spent 0.112 of 0.12 · 1 requests left" in err
    status, out, err = await retainer("ask", stood.url, "--times", "2", *bounds, *spending)
    assert (status, len(out.splitlines())) == (3, 1), "the second one would need more than --max-deposit"
    assert "per session" in err

    status, out, err = await retainer("sessions", "--json", *spending)
    assert (status, json.loads(out)[0]["state"]) == (0, "refunded"), err


async def test_an_auditor_checks_a_settlement_from_the_command_line(
    stood: Stage, agent: Keypair, tmp_path: Path
) -> None:
    receipts = tmp_path / "receipts"
    receipts.mkdir()
    async with SessionClient(agent, rpc_url=stood.rpc_url) as client:
        session = await client.create_session(stood.url, "1.0")
        for number in range(5):
            answer = await client.request("GET", stood.url, params={"q": number})
            (receipts / f"{number}.txt").write_text(answer.headers["payment-receipt"])
        closed = await client.close_session(session.session_id)
    arguments = ("-m", "retainer_provider", "export", "--config", str(stood.service.settings), session.session_id)
    status, log = await ended(*arguments)
    assert (status, len(log.splitlines())) == (0, 6)
    path = tmp_path / "usage.jsonl"
    path.write_text(log)
    audit = ("-m", "retainer.cli", "audit", "settlement", closed.signature, "--rpc-url", stood.rpc_url)
    status, told = await ended(*audit, "--log", str(path), "--receipts", str(receipts))
    assert status == 0, told
    assert "1.0 = 0.04 settled + 0.96 refunded" in told
    assert "5 matched with their lines" in told
    path.write_text(log.replace('"amount":"8000"', '"amount":"9000"', 1))
    status, told = await ended(*audit, "--log", str(path), "--json")
    assert status == 8
    assert {found["kind"] for found in json.loads(told)["findings"]} == {"charge", "usage_root"}


async def ended(*arguments: str) -> tuple[int | None, str]:
    """Exit status and output of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()
