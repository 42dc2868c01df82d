"""F21 and F27 on a real process: what is large, slow and many costs it bounded memory, no payer anything, no secret."""

import asyncio
import random
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from retainer import SessionClient
from retainer.auth import new_key
from retainer.protocol.constants import HEADER_IDEMPOTENCY_KEY
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.errors import RetainerError
from tools.evidence.leaks import secrets_of, show_none
from tools.evidence.mutations import damaged_inside
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

IDLE, IDLE_IN_CI = 10_000, 300
FORGED, FORGED_IN_CI = 50_000, 300
HEAD_BYTES, BODY_BYTES, BODY_BYTES_IN_CI = 10_000_000, 1_000_000_000, 20_000_000
SLOW: Final = 50
FLOODERS: Final = 8
HONEST: Final = 100
MORE_MEMORY: Final = 100
"""Megabytes that the process may grow by: a thousand connections' buffers, and what the allocator keeps."""
OFFER: Final = """
[offers.demo]
price = "0.000008"
mint = "{mint}"
decimals = 6
suggested_deposit = "2.0"
minimum_deposit = "0.1"
voucher_signer = "operator"
routes = ["/v1/*"]
"""


@dataclass(slots=True)
class Siege:
    """One stage under attack, with one honest payer on it."""

    stood: Stage
    header: str
    rng: random.Random
    answers: Counter[str] = field(default_factory=Counter)

    async def idle(self, count: int) -> None:
        """Sockets that say nothing, all at once."""
        writers = []
        for _ in range(count):
            with suppress(OSError):
                writers.append((await self._connect())[1])
        for writer in writers:
            writer.transport.abort()
        self.answers["idle sockets opened"] += len(writers)

    async def slow(self) -> None:
        """A head that comes a byte at a time until the service has enough of it."""
        reader, writer = await self._connect()
        for byte in b"GET /v1/report HTTP/1.1\r\nX-Slow: " + b"x" * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.5)
            if reader.at_eof() or writer.is_closing():
                break
        self.answers["slow heads dropped"] += reader.at_eof() or writer.is_closing()
        writer.transport.abort()

    async def large_head(self) -> None:
        """Ten megabytes of headers."""
        await self._pour(b"GET /v1/report HTTP/1.1\r\nHost: x\r\nX-Large: ", HEAD_BYTES, "large heads")

    async def large_body(self, size: int, header: str) -> None:
        """A body larger than any machine should hold, with a credential that is good, or none."""
        head = f"POST /v1/report HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await self._pour(head.encode(), size, "large bodies", chunked=True)

    async def forged(self, http: httpx.AsyncClient, count: int) -> None:
        """Credentials of which every one is a little wrong, as fast as they are answered."""
        for _ in range(count):
            shown = damaged_inside(self.rng, self.header).strip()
            if not self._says_the_same(shown):
                try:
                    answer = await http.get(self.stood.url, headers={b"Authorization": shown})
                    self.answers[f"forged: {answer.status_code}"] += 1
                except httpx.TransportError:
                    # Silent for longest among too many connections, of which this very siege has ten thousand.
                    self.answers["forged: dropped"] += 1

    def _says_the_same(self, shown: bytes) -> bool:
        """Blanks, and members that nobody knows, make no forgery: it is the payer's own credential still."""
        try:
            return parse_authorization(shown.decode("latin-1")) == parse_authorization(self.header)
        except RetainerError:
            return False

    async def honest(self, http: httpx.AsyncClient, count: int) -> list[float]:
        """Seconds that the payer's own requests take, one after the other; each must be answered."""
        seconds = []
        for _ in range(count):
            started = time.monotonic()
            answer = await self._served(http)
            seconds.append(time.monotonic() - started)
            self.answers[f"honest: {answer.status_code}"] += 1
        return sorted(seconds)

    async def _served(self, http: httpx.AsyncClient) -> httpx.Response:
        """An answer to the payer, who asks again where its connection made room for another, as the SDK does."""
        headers = {"Authorization": self.header, HEADER_IDEMPOTENCY_KEY: new_key()}
        try:
            return await http.get(self.stood.url, headers=headers)
        except httpx.TransportError:
            self.answers["honest: asked again"] += 1
            return await http.get(self.stood.url, headers=headers)

    async def _pour(self, head: bytes, size: int, name: str, *, chunked: bool = False) -> None:
        reader, writer = await self._connect()
        part = b"x" * 65_536
        piece = b"10000\r\n" + part + b"\r\n" if chunked else part
        writer.write(head)
        poured = 0
        with suppress(ConnectionError):
            while poured < size and not writer.is_closing():
                writer.write(piece)
                await writer.drain()
                poured += len(part)
        status = b""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(20):
                status = (await reader.readline()).split(b" ")[1:2][0] if not reader.at_eof() else b""
        self.answers[f"{name}: {status.decode() or 'dropped'}"] += 1
        writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = urlsplit(self.stood.service.url)
        return await asyncio.open_connection(where.hostname, where.port)


async def besieged(report: Report) -> None:
    """Measure in peace, attack in every way at once, and measure again."""
    full = report.scale == "full"
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream()) as upstream,
            stage(Path(folder), upstream=upstream.url, offers=OFFER, limits={"connection_seconds": 5}) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url, deposit="2.0") as client,
            httpx.AsyncClient(timeout=120) as http,
        ):
            opened = await client.request("GET", stood.url)
            siege = Siege(stood, opened.request.headers["Authorization"], random.Random(report.seed))  # noqa: S311
            peace = await siege.honest(http, HONEST)
            memory = _megabytes(stood)
            body, forged = (BODY_BYTES, FORGED) if full else (BODY_BYTES_IN_CI, FORGED_IN_CI)
            attacks = asyncio.gather(
                siege.idle(IDLE if full else IDLE_IN_CI),
                *(siege.slow() for _ in range(SLOW)),
                siege.large_head(),
                siege.large_body(body, siege.header),
                siege.large_body(body, "Payment none"),
                *(siege.forged(http, forged // FLOODERS) for _ in range(FLOODERS)),
            )
            war: list[float] = []
            most = memory
            while not attacks.done() or len(war) < HONEST:
                war += await siege.honest(http, 10)
                most = max(most, _megabytes(stood))
            await attacks
            _show(report, siege, peace, sorted(war))
            secrets = secrets_of(stood) | {"the payer's credential": siege.header.partition(" ")[2]}
            show_none(report, [stood.service.log], secrets)
    report.told("F21: resident memory before, in megabytes", memory)
    report.at_most("F21: most that it grew by, in megabytes", most - memory, MORE_MEMORY)


def _show(report: Report, siege: Siege, peace: list[float], war: list[float]) -> None:
    answers = siege.answers
    report.told("F21: what came of it", dict(sorted(answers.items())))
    failed = [name for name in answers if name.startswith("honest: ") and name[8:].isdigit() and name[8:] != "200"]
    report.equal("F21: honest requests that were not served", failed, [])
    served = [name for name in answers if name.endswith(": 200") and not name.startswith("honest")]
    report.equal("F21: attacks that were served", served, [])
    report.equal("F21: slow heads dropped", answers["slow heads dropped"], SLOW)
    for name, seconds in (("in peace", peace), ("under attack", war)):
        report.told(f"F21: honest p99 {name}, in ms", round(1000 * seconds[len(seconds) * 99 // 100 - 1]))


def _megabytes(stood: Stage) -> int:
    """Resident memory of the service's process."""
    if stood.service.process is None:
        raise RuntimeError("the service does not run")
    for line in Path(f"/proc/{stood.service.process.pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("the service's process has no memory")
