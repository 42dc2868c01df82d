"""One cluster seen through several nodes: one stands in for another, and none is believed alone (F07, F08).

What a node may get wrong, and what is done about it:

    it does not answer, or nonsense     the next one is asked, and this one last for a while
    it is behind                        its answer is none: time never runs back by more than `MAX_LAG` slots
    it says what the others do not      accounts and transactions count once `quorum` nodes agree
    it has no history                   "unknown" counts once every node that answers says so
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self, TypeVar

from solders.pubkey import Pubkey

from retainer.chain.base import (
    AccountInfo,
    Chain,
    Commitment,
    LatestBlockhash,
    SignatureStatus,
    SimulationResult,
    TransactionInfo,
)
from retainer.chain.confirm import SystemTimer, Timer
from retainer.chain.errors import ChainError, ChainUnavailableError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.rpc import RpcChain

# Nodes of one provider differ by a few slots, and a level reads up to 32 slots behind the next: a minute is neither.
MAX_LAG: Final = 150
_REST_SECONDS: Final = 30.0
# Two nodes a slot apart differ honestly about an account that has just changed.
_COMPARISONS: Final = 3
_COMPARISON_PAUSE: Final = 0.8
# With others to ask, a silent node is given up sooner than when it is the only one.
_TIMEOUT_SECONDS: Final = 5.0

Answer = TypeVar("Answer")


def connect(urls: Sequence[str], *, quorum: int = 1) -> "RpcChain | SeveralNodes":
    """The cluster behind one URL or several, the preferred one first. ChainError for what is no URL or no quorum."""
    if len(urls) == 1 and quorum == 1:
        return RpcChain(urls[0])
    return SeveralNodes([RpcChain(url, timeout=_TIMEOUT_SECONDS, pauses=(0.2,)) for url in urls], quorum=quorum)


class SeveralNodes:
    """A `Chain` of several. `quorum`: how many nodes must say the same of an account, 1 up to their number."""

    def __init__(self, nodes: Sequence[Chain], *, quorum: int = 1, timer: Timer | None = None) -> None:
        if not 1 <= quorum <= len(nodes):
            raise ChainError(f"a quorum of {quorum} cannot be had from {len(nodes)} nodes: name more of them")
        self._nodes = list(nodes)
        self._quorum = quorum
        self._timer = timer or SystemTimer()
        self._resting = [float("-inf")] * len(nodes)
        self._slots = dict.fromkeys(Commitment, 0)
        self._heights = dict.fromkeys(Commitment, 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connections of all nodes."""
        async with AsyncExitStack() as stack:
            for node in self._nodes:
                stack.push_async_callback(node.aclose)

    async def account(
        self, address: Pubkey, *, commitment: Commitment = Commitment.CONFIRMED, min_slot: int | None = None
    ) -> AccountInfo | None:
        """The account as `quorum` nodes have it, or None where it is as unanimously absent."""
        return (await self.accounts([address], commitment=commitment, min_slot=min_slot))[0]

    async def accounts(
        self,
        addresses: Sequence[Pubkey],
        *,
        commitment: Commitment = Commitment.CONFIRMED,
        min_slot: int | None = None,
    ) -> list[AccountInfo | None]:
        """Up to 100 accounts, in the order asked for, each as `quorum` nodes have it."""
        for comparison in range(_COMPARISONS):
            if comparison:
                await self._timer.sleep(_COMPARISON_PAUSE)
            views = await self._views(addresses, commitment, min_slot)
            contents = [[_content(found) for found in view] for view in views]
            if all(content == contents[0] for content in contents):
                return views[0]
        differing = [
            str(address)
            for address, seen in zip(addresses, zip(*contents, strict=True), strict=True)
            if len({str(content) for content in seen}) > 1
        ]
        raise ChainUnavailableError(f"the nodes disagree about {', '.join(differing)}: one is behind, or lies")

    async def _views(
        self, addresses: Sequence[Pubkey], commitment: Commitment, min_slot: int | None
    ) -> list[list[AccountInfo | None]]:
        oldest = max(min_slot or 0, self._slots[commitment] - MAX_LAG) or None

        async def ask(node: Chain) -> list[AccountInfo | None]:
            return await node.accounts(addresses, commitment=commitment, min_slot=oldest)

        return await self._ask(ask, enough=self._quorum)

    async def latest_blockhash(self, *, commitment: Commitment = Commitment.CONFIRMED) -> LatestBlockhash:
        """A blockhash to sign with, from a node that is not behind."""

        async def ask(node: Chain) -> LatestBlockhash:
            latest = await node.latest_blockhash(commitment=commitment)
            _require_recent(latest.slot, self._slots[commitment])
            return latest

        return await self._first(ask)

    async def genesis_hash(self) -> str:
        """The hash that tells this cluster from every other."""
        return await self._first(lambda node: node.genesis_hash())

    async def slot(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest slot at this level that `quorum` nodes have reached."""
        return await self._reached(self._slots, commitment, lambda node: node.slot(commitment=commitment))

    async def block_height(self, *, commitment: Commitment = Commitment.CONFIRMED) -> int:
        """The newest block's height at this level that `quorum` nodes have reached."""
        return await self._reached(self._heights, commitment, lambda node: node.block_height(commitment=commitment))

    async def block_time(self) -> int:
        """The chain's own time."""
        return await self._first(lambda node: node.block_time())

    async def send(self, raw: bytes) -> str:
        """Hand a signed transaction to the first node that takes it; see `Chain.send`.

        Refused only where every node refused it: after an unclear answer it may be on its way.
        """
        unknown: SendOutcomeUnknownError | None = None
        refused: TransactionRefusedError | None = None
        for index in self._ranked():
            try:
                return await self._nodes[index].send(raw)
            except SendOutcomeUnknownError as error:
                self._rest(index)
                unknown = error
            except TransactionRefusedError as error:
                refused = refused or error
        raise unknown or refused or ChainUnavailableError("there is no node to send to")

    async def signature_status(self, signature: str, *, search_history: bool = True) -> SignatureStatus | None:
        """What became of a transaction, at the level that `quorum` nodes have seen it reach.

        None only where no node that answers knows of it; seen by fewer than `quorum`, it is processed at most.
        """
        known = await self._known(lambda node: node.signature_status(signature, search_history=search_history))
        if not known:
            return None
        if len({status.error for status in known}) > 1:
            raise ChainUnavailableError(f"the nodes disagree about what became of {signature}")
        levels = sorted((list(Commitment).index(status.commitment) for status in known), reverse=True)
        agreed = levels[self._quorum - 1] if len(levels) >= self._quorum else 0
        return SignatureStatus(known[0].slot, list(Commitment)[agreed], known[0].error)

    async def transaction(
        self, signature: str, *, commitment: Commitment = Commitment.CONFIRMED
    ) -> TransactionInfo | None:
        """A transaction that landed, as `quorum` nodes have it; None only where no node that answers has it."""
        known = await self._known(lambda node: node.transaction(signature, commitment=commitment))
        for info in known:
            alike = [
                other for other in known if (other.error, other.raw, other.logs) == (info.error, info.raw, info.logs)
            ]
            if len(alike) >= self._quorum:
                return info
        if known:
            raise ChainUnavailableError(f"fewer than {self._quorum} nodes have transaction {signature} alike")
        return None

    async def signatures_for(self, address: Pubkey, *, limit: int = 100, before: str | None = None) -> list[str]:
        """Signatures of transactions that name the address, newest first; none only where no node has any."""
        known = await self._known(lambda node: node.signatures_for(address, limit=limit, before=before))
        return known[0] if known else []

    async def program_accounts(
        self, program: Pubkey, *, offset: int, key: Pubkey, commitment: Commitment = Commitment.CONFIRMED
    ) -> list[AccountInfo]:
        """Every account of `program` that holds `key` at `offset`, as one node has them: read each that matters."""
        return await self._first(
            lambda node: node.program_accounts(program, offset=offset, key=key, commitment=commitment)
        )

    async def simulate(self, raw: bytes) -> SimulationResult:
        """Run a transaction without landing it."""
        return await self._first(lambda node: node.simulate(raw))

    async def recent_priority_fees(self, writable: Sequence[Pubkey]) -> list[int]:
        """What transactions that write to these accounts paid in recent blocks, by one node."""
        return await self._first(lambda node: node.recent_priority_fees(writable))

    async def minimum_balance(self, space: int) -> int:
        """Lamports that keep an account of `space` bytes free of rent."""
        return await self._first(lambda node: node.minimum_balance(space))

    def _ranked(self) -> list[int]:
        """Nodes to ask, in order: those that failed a moment ago come last, longest ago first."""
        now = self._timer.monotonic()
        return sorted(range(len(self._nodes)), key=lambda index: max(0.0, self._resting[index] - now))

    def _rest(self, index: int) -> None:
        self._resting[index] = self._timer.monotonic() + _REST_SECONDS

    async def _first(self, ask: Callable[[Chain], Awaitable[Answer]]) -> Answer:
        return (await self._ask(ask, enough=1))[0]

    async def _known(self, ask: Callable[[Chain], Awaitable[Answer | None]]) -> list[Answer]:
        """What nodes that know something say: `quorum` of them, or those that there are."""
        answers = await self._ask(ask, enough=len(self._nodes), least=1, until=self._is_enough)
        return [answer for answer in answers if answer]

    def _is_enough(self, answers: Sequence[object]) -> bool:
        return sum(map(bool, answers)) == self._quorum

    async def _reached(
        self, newest: dict[Commitment, int], commitment: Commitment, ask: Callable[[Chain], Awaitable[int]]
    ) -> int:
        async def recent(node: Chain) -> int:
            told = await ask(node)
            _require_recent(told, newest[commitment])
            return told

        reached = min(await self._ask(recent, enough=self._quorum))
        newest[commitment] = max(newest[commitment], reached)
        return reached

    async def _ask(
        self,
        ask: Callable[[Chain], Awaitable[Answer]],
        *,
        enough: int,
        least: int | None = None,
        until: Callable[[Sequence[Answer]], bool] = lambda _: False,
    ) -> list[Answer]:
        """Answers of `enough` nodes, or as many as are wished; ChainUnavailableError with fewer than `least`."""
        answers: list[Answer] = []
        faults = []
        for index in self._ranked():
            try:
                answer = await ask(self._nodes[index])
            except ChainUnavailableError as error:
                self._rest(index)
                faults.append(str(error))
                continue
            answers.append(answer)
            if len(answers) == enough or until(answers):
                return answers
        if len(answers) >= (enough if least is None else least):
            return answers
        raise ChainUnavailableError(
            f"{len(answers)} of {len(self._nodes)} nodes gave a usable answer: {'; '.join(faults)}"
        )


def _require_recent(told: int, newest: int) -> None:
    if told < newest - MAX_LAG:
        raise ChainUnavailableError(f"a node is behind: it is at {told}, others were at {newest}")


def _content(found: AccountInfo | None) -> tuple[Pubkey, int, bytes] | None:
    """What nodes must agree on: all but the slot that each answered for."""
    return None if found is None else (found.owner, found.lamports, found.data)
