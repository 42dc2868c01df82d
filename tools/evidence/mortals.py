"""Agents that live through the deaths of a service, each asking through sessions of its own until it is answered."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
from solders.keypair import Keypair

from retainer import SessionClient, SpendingCaps
from retainer.errors import DishonestServiceError
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import HEADER_IDEMPOTENCY_KEY
from retainer.protocol.errors import RetainerError
from retainer.protocol.session import SessionState

PRICE, DEPOSIT, TOP_UP = 8_000, 100_000, 60_000
QUESTIONS = 3
_PAUSE_SECONDS = 0.1
# The same agent can meet many deaths in a row, each of which takes a start of the service.
_PATIENCE_SECONDS = 600.0
# A part that arrived whole.
_PART = re.compile(rb"data: part \d+\n\n")

T = TypeVar("T")


class _NotYetError(Exception):
    """An answer that asks to come again."""


@dataclass(slots=True)
class Sums:
    """What became of some sessions; amounts in base units, the others are requests."""

    deposited: int = 0
    settled: int = 0
    refunded: int = 0
    sessions: int = 0
    delivered: int = 0
    double: int = 0
    unpaid: int = 0

    @property
    def lost(self) -> int:
        """Base units that were paid in and did not come out."""
        return self.deposited - self.settled - self.refunded

    def __add__(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(slots=True)
class Mortality:
    """Who dies when: the deaths so far, and what sessions came to that lived through them."""

    deaths: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sums: dict[str, Sums] = field(default_factory=dict)
    total: Sums = field(default_factory=Sums)

    def lived_through(self, since: int, sums: Sums) -> None:
        """Book a session under every point at which the service died during it."""
        self.total += sums
        for point in set(self.deaths[since:]):
            self.sums[point] = self.sums.get(point, Sums()) + sums


@dataclass(frozen=True, slots=True)
class Answered:
    """What a question came to: its answer, the units that its receipt charges, and how many were seen to arrive."""

    content: bytes
    units: int = 1
    arrived: int = 1


@dataclass(slots=True)
class Agent:
    """Opens, asks, tops up, asks again for what it has, and closes; what fails is done again, as the docs say."""

    key: Keypair
    rpc_url: str
    url: str
    mortality: Mortality
    number: int = 0

    async def live(self, enough: Callable[[], bool]) -> None:
        """One session after another until it is enough."""
        while not enough():
            since = len(self.mortality.deaths)
            self.number += 1
            caps = SpendingCaps(per_session="1.0")
            async with SessionClient(
                self.key, rpc_url=self.rpc_url, caps=caps, deposit=DEPOSIT, allow_custodial=True
            ) as client:
                sums = await self._session(client)
            self.mortality.lived_through(since, sums)

    async def _session(self, client: SessionClient) -> Sums:
        answers: dict[str, Answered] = {}
        keys = [f"{self.key.pubkey()}-{self.number}-{question}" for question in range(QUESTIONS)]
        answers[keys[0]] = await self._asked(client, keys[0])
        session = (await client.sessions())[-1]
        await _until_done(lambda: client.top_up(session.session_id, BaseUnits(TOP_UP)))
        for key in keys[1:]:
            answers[key] = await self._asked(client, key)
        for key in keys:
            if not self.same(await self._asked(client, key), answers[key]):
                self.mortality.wrong.append(f"{key} was answered in two ways")
        due = sum(answer.units for answer in answers.values())
        sums = Sums(delivered=len(keys), unpaid=sum(max(0, one.arrived - one.units) for one in answers.values()))
        funded = [view for view in await client.sessions() if view.state is not SessionState.ABANDONED]
        for view in funded:
            closed = await _until_done(lambda view=view: client.close_session(view.session_id))  # type: ignore[misc]
            deposit = closed.view.deposit
            sums += Sums(deposit, closed.settled, closed.refunded, sessions=1)
        charged = sums.settled // PRICE
        sums.double += max(0, charged - due)
        sums.unpaid += max(0, due - charged)
        return sums

    def same(self, again: Answered, first: Answered) -> bool:
        """Whether a key that was asked again was answered as before."""
        return again == first

    async def _asked(self, client: SessionClient, key: str) -> Answered:
        async def ask() -> Answered:
            answer = await client.request("GET", self.url, idempotency_key=key)
            if not answer.is_success:
                raise _NotYetError(f"{answer.status_code}: {answer.text[:300]}")
            return Answered(answer.content)

        return await _until_done(ask)


@dataclass(slots=True)
class Listener(Agent):
    """The same of streams, whose parts are counted as they arrive, also those of one that breaks off."""

    def same(self, again: Answered, first: Answered) -> bool:
        """A stream comes once; asked again, its receipt alone."""
        return (again.content, again.units) == (b"", first.units)

    async def _asked(self, client: SessionClient, key: str) -> Answered:
        arrived = 0

        async def ask() -> Answered:
            nonlocal arrived
            content = b""
            async with (
                httpx.AsyncClient(auth=client.auth, timeout=60) as http,
                http.stream("GET", self.url, headers={HEADER_IDEMPOTENCY_KEY: key}) as answer,
            ):
                if not answer.is_success:
                    raise _NotYetError(f"{answer.status_code}: {(await answer.aread())[:300]!r}")
                try:
                    async for chunk in answer.aiter_bytes():
                        content += chunk
                finally:
                    arrived = max(arrived, len(_PART.findall(content)))
            receipt = answer.extensions.get("retainer")
            if receipt is None or receipt.retainer.metered is None:
                raise _NotYetError(f"the stream ended without a receipt: {content[-300:]!r}")
            return Answered(content, receipt.retainer.metered.units, arrived)

        return await _until_done(ask)


async def _until_done(act: Callable[[], Awaitable[T]]) -> T:
    """Do it until it is done. What contradicts itself is not done again; after ten minutes the last refusal counts."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _PATIENCE_SECONDS
    while True:
        try:
            return await act()
        except DishonestServiceError:
            raise
        except (httpx.TransportError, RetainerError, _NotYetError):
            if loop.time() > give_up_at:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)
