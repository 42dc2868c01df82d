"""The ledger on SQLite: one writer thread with group commit, one reader, one process."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

import apsw

from retainer.protocol.session import SessionAccount, SessionState
from retainer.protocol.usage import UsageEntry
from retainer_provider.books.ledger import CLOSED, LedgerUnavailableError
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
from retainer_provider.books.people import PeopleBook, Row, Statement
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
)
from retainer_provider.books.steps import Bell, Steps
from retainer_provider.books.stores import (
    sqlite_people,
    sqlite_requests,
    sqlite_sessions,
    sqlite_settlements,
    sqlite_streams,
    sqlite_tally,
    sqlite_transfers,
)
from retainer_provider.books.stores.sqlite_desk import Desk, unreadable
from retainer_provider.books.stores.sqlite_file import DatabaseFile, open_database
from retainer_provider.books.stores.sqlite_steps import run_steps
from retainer_provider.books.stores.sqlite_writer import GroupWriter

P = ParamSpec("P")
T = TypeVar("T")


class SqliteLedger:
    """``Ledger`` in one file. Made by ``open``; used from the event loop that opened it."""

    def __init__(self, database: DatabaseFile, limits: AnswerLimits) -> None:
        self._database = database
        self._closed = False
        self._writer = GroupWriter(database.writer, limits, asyncio.get_running_loop())
        self._desk = Desk(database, self._writer)
        self._held = self._desk.standings.held_of
        self._bell = Bell()
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="retainer-ledger-reader")

    @classmethod
    async def open(cls, path: str | os.PathLike[str], limits: AnswerLimits | None = None) -> Self:
        """Open or create the file for this process alone; LedgerError says why not and what to do."""
        database = await asyncio.to_thread(open_database, Path(path))
        return cls(database, limits or AnswerLimits())

    async def admit(self, new: NewSession) -> AdmitResult:
        return await self._desk.change(new.session_id, sqlite_sessions.admit, self._held, new)

    async def activate(
        self, session_id: str, account: SessionAccount, signature: str | None, now: int
    ) -> ActivateOutcome:
        return await self._desk.change(session_id, sqlite_sessions.activate, session_id, account, signature, now)

    async def adopt(self, adoption: Adoption) -> AdoptOutcome:
        return await self._desk.change(adoption.new.session_id, sqlite_sessions.adopt, self._held, adoption)

    async def abandon(self, session_id: str, reason: str, now: int) -> AbandonOutcome:
        return await self._desk.change(session_id, sqlite_sessions.abandon, session_id, reason, now)

    async def session(self, session_id: str) -> SessionRecord | None:
        if self.failure is None:
            standing = self._desk.look(session_id)
            if standing is None:
                return None
            if standing.known is not None and not standing.changes:
                return standing.shown(standing.known.record)
        return await self._read(sqlite_sessions.load, self._held, session_id)

    async def sessions(
        self, *, states: Collection[SessionState] | None = None, limit: int = 100, after: int = 0
    ) -> Sequence[SessionRecord]:
        return await self._read(sqlite_sessions.page, self._held, states, limit, after)

    async def due(self, now: int, limit: int = 100) -> Sequence[SessionRecord]:
        found = await self._read(sqlite_sessions.due, self._held, now, limit)
        # With a request in flight a session may be expired, but not idle.
        return [
            session
            for session in found
            if session.state_at(now) is SessionState.EXPIRED or not self._desk.standings.running(session.session_id)
        ]

    async def reserve(self, request: ReserveRequest) -> ReserveResult:
        return await self._desk.reserve(request)

    async def commit(self, commit: Commit) -> CommitResult:
        return await self._desk.commit(commit)

    async def release(self, reservation: Reservation) -> ReleaseOutcome:
        return await self._desk.release(reservation)

    async def deliver(self, reservation: Reservation, progress: Progress) -> DeliverOutcome:
        return await self._desk.deliver(reservation, progress)

    async def cut_streams(self, limit: int = 100) -> Sequence[CutStream]:
        return self._desk.cut(await self._read(sqlite_streams.streams))[:limit]

    async def begin_close(self, session_id: str, reason: str, now: int) -> CloseBegin:
        return await self._desk.change(session_id, sqlite_sessions.begin_close, session_id, reason, now)

    async def drained(self, session_id: str) -> None:
        await self._desk.drained(session_id)

    async def update_deposit(self, session_id: str, deposit: int, now: int) -> DepositOutcome:
        return await self._desk.change(session_id, sqlite_sessions.update_deposit, session_id, deposit, now)

    async def reland(self, session_id: str, opened_at: int) -> RelandOutcome:
        return await self._desk.change(session_id, sqlite_sessions.reland, session_id, opened_at)

    async def expect_transfer(self, session_id: str, transfer: ExpectedTransfer) -> ExpectOutcome:
        return await self._write(sqlite_transfers.expect_transfer, session_id, transfer)

    async def credit_transfer(self, session_id: str, signature: str, now: int) -> CreditOutcome:
        return await self._desk.change(session_id, sqlite_transfers.credit_transfer, session_id, signature, now)

    async def drop_transfer(self, signature: str) -> None:
        await self._write(sqlite_transfers.drop_transfer, signature)

    async def expected_transfers(self, session_id: str) -> Sequence[ExpectedTransfer]:
        return await self._read(sqlite_transfers.expected_transfers, session_id)

    async def mark_closing_on_chain(self, session_id: str, started_at: int, now: int) -> CloseBegin:
        return await self._desk.change(
            session_id, sqlite_sessions.mark_closing_on_chain, session_id, PAYER_ASKED, started_at, now
        )

    async def closing(self) -> Sequence[str]:
        return await self._read(sqlite_sessions.closing)

    async def claim_settlement(self, session_id: str) -> ClaimOutcome:
        return ClaimOutcome.CLAIMED  # a file has one process

    async def plan_settlement(self, session_id: str, plan: SettlementPlan, now: int) -> PlanOutcome:
        return await self._desk.plan_settlement(session_id, plan, now)

    async def store_signed(
        self, session_id: str, raw: bytes, signature: str, last_valid_block_height: int
    ) -> SignedOutcome:
        return await self._write(sqlite_settlements.store_signed, session_id, raw, signature, last_valid_block_height)

    async def settlement(self, session_id: str) -> Settlement | None:
        return await self._read(sqlite_settlements.settlement, session_id)

    async def record_settled(
        self, session_id: str, signature: str | None, settled: int, refunded: int, now: int
    ) -> RecordOutcome:
        return await self._desk.change(
            session_id,
            sqlite_settlements.record_settled,
            session_id,
            signature,
            settled=settled,
            refunded=refunded,
            now=now,
        )

    async def left_behind(self, limit: int = 100) -> Sequence[SessionRecord]:
        return await self._read(sqlite_sessions.left_behind, self._held, limit)

    async def account_gone(self, session_id: str) -> None:
        await self._write(sqlite_sessions.account_gone, session_id)

    async def parties(self) -> Sequence[Parties]:
        return await self._read(sqlite_tally.parties)

    async def tally(self, now: int, alarm_before: int | None = None) -> Sequence[Tally]:
        return await self._read(sqlite_tally.tally, self._desk.standings.all_held(), now, alarm_before)

    async def usage(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[UsageEntry]:
        return await self._read(sqlite_requests.usage, session_id, after, limit)

    async def old_logs(self, closed_before: int, limit: int = 100) -> Sequence[str]:
        return await self._read(sqlite_requests.old_logs, closed_before, limit)

    async def forget_log(self, session_id: str, usage_root: bytes) -> int:
        return await self._write(sqlite_requests.forget_log, session_id, usage_root)

    async def purge_answers(self, closed_before: int, limit: int = 1000) -> int:
        return await self._write(sqlite_requests.purge_answers, closed_before, limit)

    @property
    def shared(self) -> bool:
        return False

    async def transact(self, steps: Steps[T]) -> T:
        value, rings = await self._write(run_steps, steps)
        if rings:
            self._bell.ring()
        return value

    async def transact_ahead(self, steps: Steps[T]) -> T:
        return await self.transact(steps)  # the one writer takes a burst in a few batches

    async def look(self, steps: Steps[T]) -> T:
        return (await self._read(run_steps, steps))[0]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Bell]:
        yield self._bell

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._writer.stop()
            await asyncio.to_thread(self._close)

    @property
    def people(self) -> PeopleBook:
        async def write(statements: Sequence[Statement]) -> list[list[Row]]:
            return await self._write(sqlite_people.run, statements)

        async def read(statements: Sequence[Statement]) -> list[list[Row]]:
            return await self._read(sqlite_people.run, statements)

        return PeopleBook(sqlite_people.SqliteStatements(write, read))

    @property
    def failure(self) -> str | None:
        return self._writer.failure

    async def _write(
        self, operation: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._writer.submit(partial(operation, self._database.writer, *args, **kwargs))

    async def _read(
        self, operation: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._closed:
            raise LedgerUnavailableError(CLOSED)
        read = partial(operation, self._database.reader, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, read)
        except apsw.Error as error:
            raise unreadable(error) from error

    def _close(self) -> None:
        self._writer.join()
        self._readers.shutdown()
        self._database.desk.close()
        self._database.reader.close()
        self._database.writer.close()  # the last to close folds the write-ahead log into the file
        os.close(self._database.lock)
