"""A node that fails in every way that nodes fail in, and lies if told to: one of several views of one cluster."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from solders.pubkey import Pubkey

from retainer.chain.base import (
    AccountInfo,
    Commitment,
    LatestBlockhash,
    SignatureStatus,
    SimulationResult,
    TransactionInfo,
)
from retainer.chain.errors import ChainUnavailableError, SendOutcomeUnknownError
from retainer.chain.fake import FakeChain, Fate
from retainer.chain.raw import decode_signed, signature_of
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.layouts import decode_session, encode_session

Answer = TypeVar("Answer")


@dataclass
class View:
    """A `Chain`. `trouble` is the share of calls that go wrong; what a `liar` says is worthless."""

    cluster: FakeChain
    rng: random.Random
    trouble: float
    liar: bool = False
    met: Counter[str] = field(default_factory=Counter)

    async def _see(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        if self.rng.random() < self.trouble:
            kind = self.rng.choice(["429", "500", "timeout", "behind"])
            self.met[kind] += 1
            if kind != "behind":
                self.cluster.advance(seconds=self.rng.uniform(0, 5) if kind == "timeout" else 0.1)
                raise ChainUnavailableError(f"a node answered {kind}")
            self.cluster.behind = self.rng.randrange(1, 200)
        try:
            return await ask()
        finally:
            self.cluster.behind = 0

    def _level(self, commitment: Commitment) -> Commitment:
        return Commitment.PROCESSED if self.liar else commitment

    async def account(
        self, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED, min_slot: int | None = None
    ) -> AccountInfo | None:
        return (await self.accounts([address], commitment=commitment, min_slot=min_slot))[0]

    async def accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment = Commitment.CONFIRMED,
        min_slot: int | None = None,
    ) -> list[AccountInfo | None]:
        level = self._level(commitment)
        found = await self._see(lambda: self.cluster.accounts(addresses, commitment=level, min_slot=min_slot))
        return [self._bent(info) for info in found]

    def _bent(self, info: AccountInfo | None) -> AccountInfo | None:
        if not self.liar or info is None or info.owner != PROGRAM_ID or self.rng.random() < 1 / 2:
            return info
        self.met["lie"] += 1
        if self.rng.random() < 1 / 2:
            return None
        account = decode_session(info.data)
        return replace(info, data=encode_session(replace(account, deposit=BaseUnits(10 * account.deposit))))

    async def latest_blockhash(self, *, commitment: Commitment = Commitment.CONFIRMED) -> LatestBlockhash:
        return await self._see(lambda: self.cluster.latest_blockhash(commitment=self._level(commitment)))

    async def slot(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        return await self._see(lambda: self.cluster.slot(commitment=self._level(commitment)))

    async def block_height(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        height = await self._see(lambda: self.cluster.block_height(commitment=self._level(commitment)))
        return height + (1000 if self.liar else 0)

    async def block_time(self) -> int:
        return await self._see(self.cluster.block_time)

    async def send(self, raw: bytes) -> str:
        """Taken, lost, late, told twice, or refused, with or without an answer."""
        signature = signature_of(decode_signed(raw))
        if self.rng.random() < self.trouble:
            fate = self.rng.choice([*Fate, None])
            self.met[fate.name.lower() if fate else "duplicate"] += 1
            if fate is None:
                await self.cluster.send(raw)
            elif fate not in (Fate.FAILED, Fate.UNCHECKED):  # what a node does, not what becomes of a transaction
                known = await self.cluster.signature_status(signature)
                if known is None:
                    self.cluster.next_send(fate, slots=self.rng.randrange(1, 100))
                elif fate in (Fate.LOST_UNANSWERED, Fate.LANDED_UNANSWERED):
                    raise SendOutcomeUnknownError("a node answered 502", signature)
        return await self.cluster.send(raw)

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        status = await self._see(lambda: self.cluster.signature_status(signature, search_history=search_history))
        if status is None or not self.liar:
            return status
        self.met["lie"] += 1
        return replace(status, commitment=Commitment.FINALIZED)

    async def transaction(
        self, signature: str, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> TransactionInfo | None:
        return await self._see(lambda: self.cluster.transaction(signature, commitment=self._level(commitment)))

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        return await self._see(lambda: self.cluster.signatures_for(address, limit=limit, before=before))

    async def program_accounts(
        self, program: Pubkey, *, offset: int, key: Pubkey, commitment: Commitment = Commitment.CONFIRMED
    ) -> list[AccountInfo]:
        level = self._level(commitment)
        return await self._see(lambda: self.cluster.program_accounts(program, offset=offset, key=key, commitment=level))

    async def simulate(self, raw: bytes) -> SimulationResult:
        return await self._see(lambda: self.cluster.simulate(raw))

    async def genesis_hash(self) -> str:
        return await self._see(self.cluster.genesis_hash)

    async def recent_priority_fees(self, writable: Sequence[Pubkey]) -> list[int]:
        return await self._see(lambda: self.cluster.recent_priority_fees(writable))

    async def minimum_balance(self, space: int) -> int:
        return await self._see(lambda: self.cluster.minimum_balance(space))

    async def aclose(self) -> None:
        """Nothing to let go of."""
