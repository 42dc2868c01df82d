"""Agents at work for days on one store, as fast as it goes: what they were charged, and when."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from solders.keypair import Keypair

from retainer.channels.channel import Channel, PendingTopUp, Settlement
from retainer.channels.spending import DAY
from retainer.errors import CapError
from retainer.flows.exposure import exposures
from retainer.protocol.amounts import base_units
from retainer.stores import SessionStore
from retainer.trust.caps import Deposited, SpendingCaps
from tests.contract.channels import a_channel

Charges: TypeAlias = list[tuple[int, int]]
"""When (Unix seconds), and how many base units."""

Clock: TypeAlias = Callable[[], int]
"""Unix seconds."""

CAP = 1_000
CAPS = SpendingCaps(per_day=CAP)


def most_within_a_day(charges: Iterable[tuple[int, int]]) -> int:
    """The largest sum of charges in any 24 hours."""
    known = sorted(charges)
    return max((sum(amount for at, amount in known if end - DAY < at <= end) for end, _ in known), default=0)


class Spender:
    """One process of an agent: opens, tops up, is charged and closes within ``CAPS``.

    What it was charged stands in ``charges``, and how often the caps refused in ``refused``.
    """

    def __init__(self, store: SessionStore, agent: Keypair, worker: int) -> None:
        self._store = store
        self._agent = agent
        self._worker = worker
        self._salts = 0
        self.charges: Charges = []
        self.refused = 0

    async def act(self, pick: random.Random, clock: Clock) -> None:
        """One thing. What is spent gets its time in the write, as the client does it."""
        payer = self._agent.pubkey()
        usable = [channel for channel in await self._store.channels(payer) if channel.usable]
        deed = pick.choice([None, self._charge, self._charge, self._top_up, self._close])
        try:
            if deed is None:
                await self._open(pick, clock())
            elif usable:
                await deed(pick, clock, pick.choice(usable))
        except CapError:
            self.refused += 1

    async def _open(self, pick: random.Random, now: int) -> None:
        self._salts += 1
        deposit = pick.randint(1, CAP)
        channel = replace(
            a_channel(self._agent, deposit=deposit, salt=1_000 * self._worker + self._salts), created_at=now
        ).opened()
        adding = self._adding(channel, deposit, now)

        def choice(kept: list[Channel]) -> Channel:
            CAPS.require_deposit(adding, 6, exposures(kept, now))
            return channel

        await self._store.choose(self._agent.pubkey(), choice)

    async def _top_up(self, pick: random.Random, clock: Clock, channel: Channel) -> None:
        amount, now = pick.randint(1, CAP // 2), clock()

        def choice(kept: list[Channel]) -> Channel:
            newest = next(one for one in kept if one.session_id == channel.session_id)
            if not newest.usable:
                return newest
            adding, total = self._adding(newest, amount, now), newest.deposit + amount
            CAPS.require_top_up(adding, total, 6, exposures(kept, now))
            pending = PendingTopUp("credential", None, 1, base_units(amount), base_units(total))
            return newest.topping_up(pending).topped_up(base_units(total))

        await self._store.choose(self._agent.pubkey(), choice)

    async def _charge(self, pick: random.Random, clock: Clock, channel: Channel) -> None:
        charged = now = 0

        def charge(kept: Channel) -> Channel:
            nonlocal charged, now
            now = clock()
            charged = pick.randint(0, kept.deposit - kept.book.spent) if kept.usable else 0
            spent = base_units(kept.book.spent + charged)
            return kept.with_book(replace(kept.book, spent=spent, charged=spent)).dated(now)

        await self._store.update(self._agent.pubkey(), channel.session_id, charge)
        self.charges.append((now, charged))

    async def _close(self, _pick: random.Random, clock: Clock, channel: Channel) -> None:
        def settle(kept: Channel) -> Channel:
            refunded = base_units(kept.deposit - kept.book.spent)
            return (
                kept if kept.settlement else kept.settled(Settlement("5" * 64, kept.book.spent, refunded), at=clock())
            )

        await self._store.update(self._agent.pubkey(), channel.session_id, settle)

    @staticmethod
    def _adding(channel: Channel, amount: int, now: int) -> Deposited:
        return Deposited(now, channel.scope.token, base_units(amount), channel.scope.origin)
