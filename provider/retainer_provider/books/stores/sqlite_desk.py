"""Where requests ask for money, on the event loop: admitted from memory, charged by the writer.

Reserving writes nothing and waits for nobody, unless the session is being changed by something else than debits, or a
voucher has to be kept. One statement looks the request's key up, and reads the session where it is not in memory.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import apsw
from msgspec.structs import replace

from retainer.protocol.errors import AmountError
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.admission import barred, voucher_refusal
from retainer_provider.books.ledger import LedgerUnavailableError
from retainer_provider.books.outcomes import (
    CommitOutcome,
    CommitResult,
    DeliverOutcome,
    PlanOutcome,
    ReleaseOutcome,
    ReserveOutcome,
    ReserveResult,
)
from retainer_provider.books.records import (
    Commit,
    CutStream,
    Progress,
    Reservation,
    ReserveRequest,
    SessionRecord,
    SettlementPlan,
    ledger_amount,
)
from retainer_provider.books.stores import sqlite_requests, sqlite_settlements, sqlite_streams
from retainer_provider.books.stores.sqlite_file import DatabaseFile
from retainer_provider.books.stores.sqlite_jobs import Debit, Operation
from retainer_provider.books.stores.sqlite_requests import Kept
from retainer_provider.books.stores.sqlite_sessions import figures
from retainer_provider.books.stores.sqlite_standings import Figures, Held, Standing, Standings
from retainer_provider.books.stores.sqlite_writer import GroupWriter

P = ParamSpec("P")
T = TypeVar("T")


class Desk:
    """The requests of one opening of a file."""

    def __init__(self, database: DatabaseFile, writer: GroupWriter) -> None:
        self._writing = database.writer
        self._reading = database.desk
        self._writer = writer
        self._drained: dict[str, asyncio.Event] = {}
        self._standings = Standings()
        for stream in sqlite_streams.streams(self._reading):
            standing, _ = self._look(stream.reservation.session_id, None)
            if standing is not None:
                self._standings.restore(standing, stream.reservation)

    @property
    def standings(self) -> Standings:
        """What running requests hold."""
        return self._standings

    def look(self, session_id: str) -> Standing | None:
        """How the session stands, None where it is unknown.

        Whoever asks this is about to ask for its money, as a rule, so it is remembered.
        """
        standing, _ = self._look(session_id, None)
        return standing

    async def reserve(self, request: ReserveRequest) -> ReserveResult:
        """See ``Ledger.reserve``."""
        accepted = request.voucher is None
        while True:
            standing, kept = self._look(request.session_id, request.key)
            while standing is not None and standing.changes:
                await standing.until_calm()
                standing, kept = self._look(request.session_id, request.key)
            if standing is None or standing.known is None:
                return ReserveResult(ReserveOutcome.UNKNOWN)
            record = standing.known.record
            repeated = self._repeated(standing, record, request, kept)
            if repeated is not None:
                return repeated
            amount, refusal = ledger_amount(request.amount), barred(record, request.now)
            if refusal is None and not accepted and request.voucher is not None:
                refusal = voucher_refusal(record, request.voucher, amount)
                accepted = True
                if refusal is None and request.voucher != record.voucher:
                    keep = partial(self._keep, record.number, request.voucher, amount)
                    refusal = await self._change(request.session_id, keep, quick=True)
                    if refusal is None:
                        continue  # others had their turn meanwhile
            if refusal is not None:
                return ReserveResult(refusal, session=standing.shown(record))
            reservation = self._standings.take(standing, record, request, amount)
            if reservation is None:
                return ReserveResult(ReserveOutcome.DEPLETED, session=standing.shown(record))
            return ReserveResult(ReserveOutcome.RESERVED, reservation, session=standing.shown(record))

    async def commit(self, end: Commit) -> CommitResult:
        """See ``Ledger.commit``."""
        reservation, charge = end.reservation, end.charge
        if not 0 <= charge.amount <= reservation.amount:
            raise AmountError(f"a charge of {charge.amount} base units was not reserved: {reservation.amount} were")
        held = self._held(reservation)
        if held is not None and held.booking:
            held = await self._at_rest(reservation)
        if held is None:
            return CommitResult(CommitOutcome.LOST)
        held.booking = True
        return await self._writer.book(end, held, self._booked)

    async def release(self, reservation: Reservation) -> ReleaseOutcome:
        """See ``Ledger.release``."""
        held = await self._at_rest(reservation)
        if held is None:
            return ReleaseOutcome.GONE
        if held.stream:
            held.cut = True
            return ReleaseOutcome.CUT
        self._give_back(reservation, written=False)
        return ReleaseOutcome.RELEASED

    async def deliver(self, reservation: Reservation, progress: Progress) -> DeliverOutcome:
        """See ``Ledger.deliver``."""
        held = await self._at_rest(reservation)
        if held is None or held.cut:
            return DeliverOutcome.LOST
        first, held.stream = not held.stream, True  # from now on a release of it is not sure that nothing has left

        def ended(job: Operation) -> None:
            if first and job.value is not DeliverOutcome.KEPT:
                held.stream = False
                if held.cut:
                    self._give_back(reservation, written=False)

        work = partial(sqlite_streams.deliver, self._writing, reservation, progress)
        return await self._writer.submit(work, ended)

    def cut(self, streams: list[CutStream]) -> list[CutStream]:
        """Those of them that nobody sends any more."""
        found = ((stream, self._standings.reservation(stream.reservation)) for stream in streams)
        return [stream for stream, held in found if held is not None and held.cut]

    async def plan_settlement(self, session_id: str, plan: SettlementPlan, now: int) -> PlanOutcome:
        """See ``Ledger.plan_settlement``."""
        in_flight = self._standings.running(session_id) > 0
        return await self.change(
            session_id, sqlite_settlements.plan_settlement, session_id, plan, now, in_flight=in_flight
        )

    async def drained(self, session_id: str) -> None:
        """See ``Ledger.drained``."""
        while self._writer.failure is None and self._standings.running(session_id):
            await self._drained.setdefault(session_id, asyncio.Event()).wait()
        # A request whose commit failed is not in flight any more, but nobody knows whether it was charged.
        if self._writer.failure is not None:
            raise LedgerUnavailableError(self._writer.failure)

    async def change(
        self,
        session_id: str,
        operation: Callable[Concatenate[apsw.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Write something else than a debit to the session; nothing of it is reserved until that is over."""

        def change(_standing: Standing) -> tuple[T, None]:
            return operation(self._writing, *args, **kwargs), None

        return await self._change(session_id, change)

    async def _change(
        self, session_id: str, operation: Callable[[Standing], tuple[T, Figures | None]], *, quick: bool = False
    ) -> T:
        """``operation`` gives its value, and the session's figures after it unless they are to be read anew."""
        standing = self._standings.change(session_id)

        def work() -> tuple[T, Figures | None]:
            value, after = operation(standing)
            standing.written = after or figures(self._writing, session_id)
            return value, standing.written

        def ended(job: Operation) -> None:
            self._standings.changed(session_id, standing, None if job.error else job.value[1])
            self._wake(session_id)

        value, _ = await self._writer.submit(work, ended, quick=quick)
        return value

    def _keep(
        self, number: int, voucher: SignedVoucher, amount: int, standing: Standing
    ) -> tuple[ReserveOutcome | None, Figures | None]:
        refusal, was = sqlite_requests.accept(self._writing, number, voucher, amount), standing.written
        if refusal is not None or was is None:
            return refusal, None
        record = replace(was.record, accepted=voucher.voucher.cumulative, voucher=voucher)
        return None, Figures(record, was.answer_bytes)

    def _look(self, session_id: str, key: str | None) -> tuple[Standing | None, Kept | None]:
        """How the session stands, None where it is unknown; once nothing changes it, also what the key has stored."""
        if self._writer.failure is not None:
            raise LedgerUnavailableError(self._writer.failure)
        standing = self._standings.find(session_id)
        try:
            if standing is None:
                return self._first_look(session_id, key)
            if standing.known is None or standing.changes or key is None:
                return standing, None
            return standing, sqlite_requests.stored(self._reading, standing.known.record.number, key)
        except apsw.Error as error:
            raise unreadable(error) from error

    def _first_look(self, session_id: str, key: str | None) -> tuple[Standing | None, Kept | None]:
        found = sqlite_requests.first_look(self._reading, session_id, key)
        if found is None:
            return None, None
        known, kept = found
        return self._standings.remember(session_id, known), kept

    async def _at_rest(self, reservation: Reservation) -> Held | None:
        """The reservation, once no commit of it is under way; None where it is not held."""
        while (held := self._held(reservation)) is not None and held.booking:
            await held.until_over()
        return held

    def _held(self, reservation: Reservation) -> Held | None:
        if self._writer.failure is not None:
            raise LedgerUnavailableError(self._writer.failure)
        return self._standings.reservation(reservation)

    def _repeated(
        self, standing: Standing, record: SessionRecord, request: ReserveRequest, kept: Kept | None
    ) -> ReserveResult | None:
        if request.key is None:
            return None
        running = self._standings.fingerprint(request.session_id, request.key)
        if running is not None:
            same = running == request.fingerprint
            outcome = ReserveOutcome.IN_FLIGHT if same else ReserveOutcome.CONFLICT
            return ReserveResult(outcome, session=standing.shown(record))
        if kept is None:
            return None
        fingerprint, answer = kept
        if fingerprint != request.fingerprint:
            return ReserveResult(ReserveOutcome.CONFLICT, session=standing.shown(record))
        return ReserveResult(ReserveOutcome.REPLAY, answer=answer, session=standing.shown(record))

    def _booked(self, debit: Debit) -> None:
        reservation = debit.commit.reservation
        held = self._standings.reservation(reservation)
        if held is not None:
            held.booked()
        if debit.error is None:
            debit.standing.known = debit.figures
            self._give_back(reservation, written=True)
        else:
            self._wake(reservation.session_id)

    def _give_back(self, reservation: Reservation, *, written: bool) -> None:
        self._standings.give_back(reservation, written=written)
        self._wake(reservation.session_id)

    def _wake(self, session_id: str) -> None:
        if self._drained and (self._writer.failure is not None or not self._standings.running(session_id)):
            waiting = self._drained.pop(session_id, None)
            if waiting is not None:
                waiting.set()


def unreadable(error: apsw.Error) -> LedgerUnavailableError:
    """A reading connection failed."""
    return LedgerUnavailableError(f"the ledger could not be read ({error}); look at its disk")
