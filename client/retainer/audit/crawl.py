"""Reading a provider's sessions off the chain: its signatures for what was done, accounts for what stands.

Every opening names operator and payee, so the history of either key holds them all. A withdrawal names neither, so how
an unfinished session ended stands in the session's own history.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from solders.pubkey import Pubkey

from retainer.audit.cache import HistoryCache, Read
from retainer.audit.deeds import deeds_of
from retainer.audit.history import signatures
from retainer.audit.life import End, Life
from retainer.chain.base import Chain, Commitment, TransactionInfo
from retainer.chain.errors import ChainUnavailableError, ForeignAccountError
from retainer.chain.sessions import read_session
from retainer.protocol.layouts import SESSION_OPERATOR_OFFSET, SESSION_PAYEE_OFFSET

# Nodes that limit rates count requests, and one that is asked for few at once answers them soon.
_AT_ONCE: Final = 8
_ACCOUNTS: Final = 100

T = TypeVar("T")


@dataclass(slots=True)
class Progress:
    """How far a crawl is; ``back_to`` in Unix seconds, ``unread`` transactions that the node named and did not have."""

    transactions: int = 0
    cached: int = 0
    unread: int = 0
    sessions_asked: int = 0
    back_to: int | None = None
    searched: bool = True  # the node searched its accounts


class Crawl:
    """One provider's history from one node into one cache."""

    def __init__(
        self,
        chain: Chain,
        cache: HistoryCache,
        provider: Pubkey,
        program: Pubkey,
        *,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._chain = chain
        self._cache = cache
        self._provider = provider
        self._program = program
        self._tell = tell
        self.progress = Progress()

    async def run(self, since: int | None = None) -> None:
        """Read everything that was done since ``since`` (Unix seconds), and what stands now. Resumes where it ended."""
        await self._history(self._provider, since)
        await self._search()
        for page in self._cache.lives(unfinished=True):
            for some in _batches(page, _ACCOUNTS):
                await self._finish(some)

    async def _history(self, address: Pubkey, since: int | None) -> None:
        async for page in signatures(self._chain, address):
            unseen = self._cache.unseen(page)
            self.progress.cached += len(page) - len(unseen)
            for some in _batches(unseen, _AT_ONCE):
                await self._read(some)
                self._tell(self.progress)
            self.progress.back_to = self._cache.time_of(page[-1]) or self.progress.back_to
            if since is not None and self.progress.back_to is not None and self.progress.back_to < since:
                return

    async def _read(self, wanted: Sequence[str]) -> None:
        found = await asyncio.gather(
            *(self._chain.transaction(signature, commitment=Commitment.FINALIZED) for signature in wanted)
        )
        self._cache.take([self._taken(info) for info in found if info is not None])
        self.progress.transactions += len(wanted)
        self.progress.unread += sum(info is None for info in found)

    def _taken(self, info: TransactionInfo) -> Read:
        return Read(info.signature, info.block_time, deeds_of(info, self._program))

    async def _search(self) -> None:
        """Sessions that stand now and whose opening is out of sight: older than what was read, or forgotten."""
        try:
            for offset in (SESSION_OPERATOR_OFFSET, SESSION_PAYEE_OFFSET):
                found = await self._chain.program_accounts(self._program, offset=offset, key=self._provider)
                unknown = (str(one.address) for one in found if self._cache.life(str(one.address)) is None)
                self._cache.keep(map(Life, unknown))
        except ChainUnavailableError:
            self.progress.searched = False  # many nodes do not offer it; histories hold the same

    async def _finish(self, lives: Sequence[Life]) -> None:
        """Say of each whether it stands, and look up beginning and end where they are missing."""
        accounts = await self._chain.accounts([Pubkey.from_string(life.session) for life in lives])
        for life, info in zip(lives, accounts, strict=True):
            told = life
            if info is None or life.opening is None:
                await self._history(Pubkey.from_string(life.session), None)
                self.progress.sessions_asked += 1
                told = self._cache.life(life.session) or life
            told.live = info is not None and told.end is None
            if info is not None:
                try:
                    told.stand(read_session(info, self._program))
                except ForeignAccountError:
                    told.live = False
            elif told.end is None:
                told.end = End.GONE
            self._cache.keep([told])
            self._tell(self.progress)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
