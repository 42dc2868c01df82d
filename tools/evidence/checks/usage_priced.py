"""usage-priced: random prompts at an OpenAI-compatible service, whole and streamed: paid on chain is what was used."""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from solders.pubkey import Pubkey

from retainer import SessionClient, SpendingCaps, TopUpPolicy, create_channel_store
from retainer.protocol.problems import ProblemType
from retainer.stores import SessionStore
from tools.evidence.report import Report
from tools.ports import held_port
from tools.stage import Stage, stage

PRICE, TOKENS_PER_UNIT, MAX_UNITS = 1_000, 10, 40
REQUESTS, REQUESTS_IN_CI, AT_ONCE = 100, 30, 5
MOST_WORDS = 180
EXAMPLES = Path(__file__).parents[3] / "examples"

OFFER = """
[offers.chat]
price = "0.001"
mint = "{{mint}}"
decimals = 6
suggested_deposit = "0.5"
minimum_deposit = "0.04"
grace_period = 900
voucher_signer = "client"

[[offers.chat.routes]]
path = "/v1/chat/completions"
max_units = 40
count = "/usage/total_tokens"
per_unit = {per_unit}
stream = true

[offers.chat.sla]
max_latency_ms = 10000
"""


async def run(report: Report) -> None:
    """Ask, stream, overrun, leave; then settle, and count on the chain."""
    count, dice = report.count(REQUESTS, REQUESTS_IN_CI), random.Random(report.seed)  # noqa: S311 - repeatable, not secret
    per_unit = TOKENS_PER_UNIT
    if report.sabotage:
        per_unit = TOKENS_PER_UNIT // 2
        report.plant("the provider bills a unit for half the tokens agreed")
    store = create_channel_store()
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            _service() as upstream,
            stage(Path(folder), upstream=upstream, offers=OFFER.format(per_unit=per_unit)) as stood,
            SessionClient(
                stood.agent,
                rpc_url=stood.rpc_url,
                store=store,
                deposit="0.5",
                caps=SpendingCaps(per_session="4.5", per_request=MAX_UNITS * PRICE),
                top_up=TopUpPolicy(below="0.2", amount="0.5"),
            ) as client,
        ):
            before = await stood.balance(stood.agent.pubkey())
            url = f"{stood.service.url}/v1/chat/completions"
            words = [dice.randint(1, MOST_WORDS) for _ in range(count)]
            units = await _whole(report, client, url, words)
            units += await _streams(report, client, url)
            units += await _left(report, client, store, stood.agent.pubkey(), url)
            await _settled(report, stood, client, before, units)


async def _whole(report: Report, client: SessionClient, url: str, words: list[int]) -> int:
    """Plain answers, several at once; the units that they are to cost."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(count: int) -> httpx.Response:
        async with turns:
            return await client.request("POST", url, json=_prompt(count))

    answers = await asyncio.gather(*map(ask, words))
    due = [_units(2 * count) for count in words]
    report.equal("answered", sum(answer.is_success for answer in answers), len(words))
    report.equal("units, by the receipts", sum(map(_charged, answers)), sum(due))
    report.equal("requests whose receipt differs", sum(map(int.__ne__, map(_charged, answers), due)), 0)
    report.told("dearest and cheapest, in units", f"{max(due)} and {min(due)}, of {MAX_UNITS} reserved for each")
    return sum(due)


async def _streams(report: Report, client: SessionClient, url: str) -> int:
    """One read to its end, and one that asks for more than is reserved."""
    whole = await client.request("POST", url, json=_prompt(57, stream=True))
    report.equal("events of a stream of 57 words", whole.text.count("delta"), 57)
    report.equal("units of it, by the receipt in its last event", _charged(whole), _units(2 * 57))
    cut = await client.request("POST", url, json=_prompt(500, stream=True))
    report.equal("events of a stream of 500 words", cut.text.count("delta"), MAX_UNITS * TOKENS_PER_UNIT)
    error = cut.text.partition("event: error\ndata: ")[2].partition("\n")[0]
    report.equal("why it ended", json.loads(error or "{}").get("type"), ProblemType.UNITS_EXHAUSTED.value)
    report.equal("units of it", _charged(cut), MAX_UNITS)
    return _units(2 * 57) + MAX_UNITS


async def _left(report: Report, client: SessionClient, store: SessionStore, payer: Pubkey, url: str) -> int:
    """A caller that leaves a stream: its receipt is fetched before the next request, and nothing is served again."""
    async with httpx.AsyncClient(auth=client.auth, timeout=60) as http:
        async with http.stream("POST", url, json=_prompt(300, stream=True)) as answer:
            async for _ in answer.aiter_bytes():
                break
        [session] = await client.sessions()
        spent = session.spent
        last = await http.post(url, json=_prompt(3))
    [session] = await client.sessions()
    units = (session.spent - spent) // PRICE - _charged(last)
    report.at_most("units of a stream that its caller left", units, MAX_UNITS)
    report.told("which is for what the provider had sent by then, in words at most", units * TOKENS_PER_UNIT)
    [channel] = await store.channels(payer)
    report.equal("units that the client cannot account for", channel.book.exposed, 0)
    return units + _charged(last)


async def _settled(report: Report, stood: Stage, client: SessionClient, before: int, units: int) -> None:
    """One transaction pays it all, and the rest comes back."""
    [session] = await client.sessions()
    closed = await client.close_session(session.session_id)
    report.fact("settlement", closed.signature)
    report.equal("settled, from the chain", await stood.balance(stood.payee.pubkey()), units * PRICE)
    paid = before - await stood.balance(stood.agent.pubkey())
    report.equal("paid by the agent, from the chain", paid, units * PRICE)


def _prompt(words: int, *, stream: bool = False) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": " ".join(["word"] * words)}], "stream": stream}


def _units(tokens: int) -> int:
    return min(-(-tokens // TOKENS_PER_UNIT), MAX_UNITS)


def _charged(answer: httpx.Response) -> int:
    units: int = answer.extensions["retainer"].retainer.metered.units
    return units


@contextlib.asynccontextmanager
async def _service() -> AsyncIterator[str]:
    """The example as a process of its own."""
    with held_port() as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "openai_upstream:app"),
            *("--port", str(port), "--log-level", "error", "--lifespan", "off"),
        )
        try:
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10)) as http:
                await http.post(f"http://127.0.0.1:{port}", json={})
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            await process.wait()
