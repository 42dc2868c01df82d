"""free-tier: N asks free, the next one gated before any work; two tabs and restarts make no more of it."""

import asyncio
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx

from retainer.protocol.problems import ProblemType
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import OFFER, Stage, stage

ASKS, ASKS_IN_CI = 100, 10
_ASKED: Final = {"method": "POST", "path": "/v1/report", "body": "question"}
_TABS: Final = 2
_AT_ONCE: Final = 7  # of one tab: the service runs no more than 16 free asks at a time


class Visitor:
    """One browser: every tab of it sends the same cookie, once it has one, and calls itself the same."""

    def __init__(self, http: httpx.AsyncClient, url: str, name: str) -> None:
        self._http = http
        self._url = url
        self._name = name
        self.cookie = ""

    async def call(self, path: str) -> tuple[int, dict[str, Any]]:
        """One call of the page; status and answer."""
        headers = {
            "sec-fetch-site": "same-origin",
            "user-agent": self._name,
            **({"cookie": self.cookie} if self.cookie else {}),
        }
        answer = await self._http.post(f"{self._url}/api{path}", json=_ASKED, headers=headers)
        if given := answer.headers.get("set-cookie"):
            self.cookie = given.partition(";")[0]
        self._http.cookies.clear()
        return answer.status_code, answer.json()

    async def ask(self, times: int = 1) -> list[int]:
        """So many asks, several at once; their statuses."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one() -> int:
            async with room:
                return (await self.call("/ask"))[0]

        return await asyncio.gather(*(one() for _ in range(times)))


async def run(report: Report) -> None:
    """Ask at once from two tabs, ask one more, restart and kill the provider, clear the cookies."""
    most = report.count(ASKS, ASKS_IN_CI)
    tier = f'\n[free_tier]\nasks_per_day = {most}\nasks_per_address = {3 * most}\nroutes = ["/v1/*"]\n'
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream()) as upstream,
            stage(Path(folder), upstream=upstream.url, offers=OFFER + tier) as stood,
            httpx.AsyncClient(timeout=60) as http,
        ):
            await _tabs(report, Visitor(http, stood.service.url, "tabs"), upstream, most)
            await _restarts(report, Visitor(http, stood.service.url, "restarts"), stood, upstream, most)
            await _cleared_cookies(report, stood, http, upstream, most)


async def _tabs(report: Report, visitor: Visitor, upstream: Upstream, most: int) -> None:
    # Both open at once, before there is a cookie, and both ask.
    opened = await asyncio.gather(*(visitor.call("/ask/preview") for _ in range(_TABS)))
    before = opened[0][1]
    report.equal("told beforehand", (before["coveredBy"], before["freeLeft"]), ("free", most))
    report.step(f"{_TABS} tabs of one visitor, {_TABS * most} asks, {_TABS * _AT_ONCE} at once, {most} of them free")
    answered = [status for tab in await asyncio.gather(*(visitor.ask(most) for _ in range(_TABS))) for status in tab]
    report.equal("answered for nothing", answered.count(200), most)
    report.equal("the others' status", set(answered) - {200}, {402})
    report.equal("upstream executions", _worked(upstream), most)
    _, gated = await visitor.call("/ask/preview")
    report.equal("the next one, told beforehand", (gated["coveredBy"], gated["priceDisplay"]), ("payment", "0.008"))
    status, refused = await visitor.call("/ask")
    report.equal(
        "the next one, asked all the same", (status, refused["type"]), (402, str(ProblemType.FREE_QUOTA_EXHAUSTED))
    )
    report.equal("upstream executions that it caused", _worked(upstream) - most, 0)


async def _restarts(report: Report, visitor: Visitor, stood: Stage, upstream: Upstream, most: int) -> None:
    worked = _worked(upstream)
    report.step("another visitor, the provider ended after half of its asks and killed after the rest")
    await visitor.call("/ask/preview")  # as a page does first; it brings the cookie
    answered = await visitor.ask(most // 2)
    await stood.service.stop()
    if report.sabotage:
        report.plant("what was counted is wiped while the provider restarts, as a count in memory would be")
        _forget(stood.folder / "ledger.sqlite")
    await stood.service.start()
    answered += await visitor.ask(most)
    await stood.service.kill()
    await stood.service.start()
    answered += await visitor.ask(most)
    report.equal("answered for nothing, over two restarts", answered.count(200), most)
    report.equal("upstream executions for them", _worked(upstream) - worked, most)


async def _cleared_cookies(
    report: Report, stood: Stage, http: httpx.AsyncClient, upstream: Upstream, most: int
) -> None:
    worked = _worked(upstream)
    report.step("a visitor who clears the cookies before each ask and changes browsers, from the same address")
    statuses = [(await Visitor(http, stood.service.url, f"cleared {number}").ask())[0] for number in range(most + 3)]
    # Two visitors have had theirs; an address has three times as many.
    report.equal("answered before the address has had its own", statuses.count(200), most)
    report.equal("upstream executions for them", _worked(upstream) - worked, most)


def _worked(upstream: Upstream) -> int:
    return sum(upstream.executions.values())


def _forget(ledger: Path) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute("DELETE FROM free_ask")
    connection.close()
