"""The ledger on PostgreSQL: any number of processes on one database, each for itself, none bound to a session."""

import asyncio
import secrets
from collections.abc import Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self, TypeVar

from retainer.protocol.errors import AmountError
from retainer.protocol.session import SessionAccount, SessionState
from retainer.protocol.usage import UsageEntry
from retainer_provider.books.ledger import CLOSED, LedgerInterruptedError
from retainer_provider.books.outcomes import (
    AbandonOutcome,
    ActivateOutcome,
    AdmitResult,
    AdoptOutcome,
    ClaimOutcome,
    CloseBegin,
    CommitResult,
    CreditOutcome,
    DeliverOutcome,
    DepositOutcome,
    ExpectOutcome,
    PlanOutcome,
    RecordOutcome,
    RelandOutcome,
    ReleaseOutcome,
    ReserveResult,
    SignedOutcome,
)
from retainer_provider.books.people import PeopleBook
from retainer_provider.books.records import (
    PAYER_ASKED,
    Adoption,
    AnswerLimits,
    Commit,
    CutStream,
    ExpectedTransfer,
    NewSession,
    Parties,
    Progress,
    Reservation,
    ReserveRequest,
    SessionRecord,
    Settlement,
    SettlementPlan,
    Tally,
    ledger_amount,
)
from retainer_provider.books.steps import Bell, Steps
from retainer_provider.books.stores import (
    postgres_requests,
    postgres_sessions,
    postgres_settlements,
    postgres_steps,
    postgres_streams,
    postgres_tally,
    postgres_transfers,
)
from retainer_provider.books.stores.postgres_account import Hold
from retainer_provider.books.stores.postgres_database import check_database, migrate, pool_of
from retainer_provider.books.stores.postgres_debits import Debits, Result
from retainer_provider.books.stores.postgres_groups import Groups
from retainer_provider.books.stores.postgres_people import PostgresStatements
from retainer_provider.books.stores.postgres_pool import Transactions
from retainer_provider.books.stores.postgres_turn import Turn

T = TypeVar("T")

# So soon it is known that the database is away: from who keeps the lease.
_LEASE_CONNECTION_SECONDS: Final = 5
_DRAIN_POLL_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.25)


class PostgresLedger:
    """``Ledger`` in one database. Made by ``open``; used from the event loop that opened it."""

    def __init__(self, url: str, books: Transactions, turn: Turn, limits: AnswerLimits) -> None:
        self._url = url
        self._books = books
        self._turn = turn
        self._groups = Groups(books, Debits(limits), self._release_unclaimed)
        self._closed = False
        self._running: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(
        cls,
        url: str,
        limits: AnswerLimits | None = None,
        *,
        lease_seconds: float = 30,
        connections: int = 8,
        prepare: bool = True,
    ) -> Self:
        """Open or create the books at a libpq URL; LedgerError says why not and what to do.

        What this process holds outlives its death by ``lease_seconds`` at most. Without ``prepare`` a connection keeps
        no prepared statements, for poolers that give each transaction another one.
        """
        await check_database(url)
        await asyncio.to_thread(migrate, url)
        books = Transactions(pool_of(url, connections, prepare=prepare), lease_seconds)
        # With a connection to itself, so that a burst of requests does not cost it its lease.
        leases = Transactions(pool_of(url, 1, prepare=prepare), lease_seconds, _LEASE_CONNECTION_SECONDS)
        turn = Turn(leases, lease_seconds)
        await turn.begin()
        await books.open()
        return cls(url, books, turn, limits or AnswerLimits())

    async def admit(self, new: NewSession) -> AdmitResult:
        return await self._books.write(postgres_sessions.admit, new)

    async def activate(
        self, session_id: str, account: SessionAccount, signature: str | None, now: int
    ) -> ActivateOutcome:
        return await self._books.write(postgres_sessions.activate, session_id, account, signature, now)

    async def adopt(self, adoption: Adoption) -> AdoptOutcome:
        return await self._books.write(postgres_sessions.adopt, adoption)

    async def abandon(self, session_id: str, reason: str, now: int) -> AbandonOutcome:
        return await self._books.write(postgres_sessions.abandon, session_id, reason, now)

    async def session(self, session_id: str) -> SessionRecord | None:
        return await self._books.read(postgres_sessions.load, session_id)

    async def sessions(
        self, *, states: Collection[SessionState] | None = None, limit: int = 100, after: int = 0
    ) -> Sequence[SessionRecord]:
        return await self._books.read(postgres_sessions.page, states, limit, after)

    async def due(self, now: int, limit: int = 100) -> Sequence[SessionRecord]:
        return await self._books.read(postgres_sessions.due, now, limit)

    async def reserve(self, request: ReserveRequest) -> ReserveResult:
        # No earlier opening's reservations name later ones, nor another process's: their numbers are drawn.
        reservation = Reservation(
            id=secrets.randbits(63),
            session_id=request.session_id,
            key=request.key,
            fingerprint=request.fingerprint,
            amount=ledger_amount(request.amount),
            units=request.units,
            epoch=self._turn.epoch,
        )
        try:
            reserved: ReserveResult = await self._groups.submit(Hold(request, reservation))
        except LedgerInterruptedError:
            self._turn.owe(reservation)  # should the database have it all the same
            raise
        return reserved

    async def commit(self, commit: Commit) -> CommitResult:
        reservation, charge = commit.reservation, commit.charge
        if not 0 <= charge.amount <= reservation.amount:
            raise AmountError(f"a charge of {charge.amount} base units was not reserved: {reservation.amount} were")
        # To its end, though the caller be cancelled: half-way, nobody could tell whether it was charged.
        committed: CommitResult = await self._groups.submit(commit)
        return committed

    async def release(self, reservation: Reservation) -> ReleaseOutcome:
        # Durable: forgotten, it would hold the money for as long as this process lives.
        try:
            return await asyncio.shield(self._start(self._books.write(postgres_requests.release, reservation)))
        except LedgerInterruptedError:
            self._turn.owe(reservation)
            raise

    async def deliver(self, reservation: Reservation, progress: Progress) -> DeliverOutcome:
        return await self._books.write(postgres_streams.deliver, reservation, progress)

    async def cut_streams(self, limit: int = 100) -> Sequence[CutStream]:
        return await self._books.write(postgres_streams.cut_streams, self._turn.epoch, limit)

    async def begin_close(self, session_id: str, reason: str, now: int) -> CloseBegin:
        return await self._books.write(postgres_sessions.begin_close, session_id, reason, now)

    async def drained(self, session_id: str) -> None:
        # Polled: the last request may run in another process, or die with it.
        pauses = iter(_DRAIN_POLL_SECONDS)
        pause = 0.0
        while await self._books.read(postgres_sessions.in_flight, session_id):
            pause = next(pauses, pause)
            await asyncio.sleep(pause)

    async def update_deposit(self, session_id: str, deposit: int, now: int) -> DepositOutcome:
        return await self._books.write(postgres_sessions.update_deposit, session_id, deposit, now)

    async def reland(self, session_id: str, opened_at: int) -> RelandOutcome:
        return await self._books.write(postgres_sessions.reland, session_id, opened_at)

    async def expect_transfer(self, session_id: str, transfer: ExpectedTransfer) -> ExpectOutcome:
        return await self._books.write(postgres_transfers.expect_transfer, session_id, transfer)

    async def credit_transfer(self, session_id: str, signature: str, now: int) -> CreditOutcome:
        return await self._books.write(postgres_transfers.credit_transfer, session_id, signature, now)

    async def drop_transfer(self, signature: str) -> None:
        await self._books.write(postgres_transfers.drop_transfer, signature)

    async def expected_transfers(self, session_id: str) -> Sequence[ExpectedTransfer]:
        return await self._books.read(postgres_transfers.expected_transfers, session_id)

    async def mark_closing_on_chain(self, session_id: str, started_at: int, now: int) -> CloseBegin:
        return await self._books.write(
            postgres_sessions.mark_closing_on_chain, session_id, PAYER_ASKED, started_at, now
        )

    async def closing(self) -> Sequence[str]:
        return await self._books.read(postgres_sessions.closing)

    async def claim_settlement(self, session_id: str) -> ClaimOutcome:
        return await self._books.write(postgres_settlements.claim_settlement, self._turn.epoch, session_id)

    async def plan_settlement(self, session_id: str, plan: SettlementPlan, now: int) -> PlanOutcome:
        return await self._books.write(postgres_settlements.plan_settlement, session_id, plan, now)

    async def store_signed(
        self, session_id: str, raw: bytes, signature: str, last_valid_block_height: int
    ) -> SignedOutcome:
        return await self._books.write(
            postgres_settlements.store_signed,
            self._turn.epoch,
            session_id,
            raw=raw,
            signature=signature,
            height=last_valid_block_height,
        )

    async def settlement(self, session_id: str) -> Settlement | None:
        return await self._books.read(postgres_settlements.settlement, session_id)

    async def record_settled(
        self, session_id: str, signature: str | None, settled: int, refunded: int, now: int
    ) -> RecordOutcome:
        return await self._books.write(
            postgres_settlements.record_settled, session_id, signature, settled=settled, refunded=refunded, now=now
        )

    async def left_behind(self, limit: int = 100) -> Sequence[SessionRecord]:
        return await self._books.read(postgres_sessions.left_behind, limit)

    async def account_gone(self, session_id: str) -> None:
        await self._books.write(postgres_sessions.account_gone, session_id)

    async def parties(self) -> Sequence[Parties]:
        return await self._books.read(postgres_tally.parties)

    async def tally(self, now: int, alarm_before: int | None = None) -> Sequence[Tally]:
        return await self._books.read(postgres_tally.tally, now, alarm_before)

    async def usage(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[UsageEntry]:
        return await self._books.read(postgres_requests.usage, session_id, after, limit)

    async def old_logs(self, closed_before: int, limit: int = 100) -> Sequence[str]:
        return await self._books.read(postgres_requests.old_logs, closed_before, limit)

    async def forget_log(self, session_id: str, usage_root: bytes) -> int:
        return await self._books.write(postgres_requests.forget_log, session_id, usage_root)

    async def purge_answers(self, closed_before: int, limit: int = 1000) -> int:
        return await self._books.write(postgres_requests.purge_answers, closed_before, limit)

    @property
    def shared(self) -> bool:
        return True

    async def transact(self, steps: Steps[T]) -> T:
        return await self._books.write(postgres_steps.run_steps, steps)

    async def transact_ahead(self, steps: Steps[T]) -> T:
        return await self._turn.transactions.write(postgres_steps.run_steps, steps)

    async def look(self, steps: Steps[T]) -> T:
        return await self._books.read(postgres_steps.run_steps, steps)

    def listening(self) -> AbstractAsyncContextManager[Bell]:
        return postgres_steps.listening(self._url)

    @property
    def people(self) -> PeopleBook:
        return PeopleBook(PostgresStatements(self._books))

    @property
    def failure(self) -> str | None:
        return CLOSED if self._closed else self._turn.failure

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._groups.settled()
            while self._running:
                await asyncio.gather(*self._running, return_exceptions=True)
            await self._turn.end()
            await self._books.aclose()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen here, should nobody wait any more

    def _release_unclaimed(self, result: Result) -> None:
        """Nobody is left to commit or release what was reserved."""
        if isinstance(result, ReserveResult) and result.reservation is not None:
            self._start(self._books.write(postgres_requests.release, result.reservation))
