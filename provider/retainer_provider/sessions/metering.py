"""One metered request: reserve, call, judge, commit, answer. In that order, and never an answer without its commit.

A request that is reserved runs to its end whatever becomes of its client: charged and kept for a retry, or free.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from retainer.protocol.constants import HEADER_MAX_UNITS, HEADER_RECEIPT, JSON_INTEGER_MAX
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.problems import ProblemType
from retainer.protocol.signing import Signer
from retainer.protocol.sla import Observation, SlaTerms, Verdict, judge
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Quote, decide, quote
from retainer_provider.books.outcomes import (
    CommitOutcome,
    CommitResult,
    DeliverOutcome,
    ReserveOutcome,
    ReserveResult,
)
from retainer_provider.books.records import (
    Commit,
    CommitFacts,
    Progress,
    Reservation,
    ReserveRequest,
    SessionRecord,
    StoredAnswer,
    UsageDraft,
)
from retainer_provider.books.terms import session_terms
from retainer_provider.clock import Clock
from retainer_provider.local_key import signs_here
from retainer_provider.monitoring.observer import UNOBSERVED, Observer
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.schema import schema_ok
from retainer_provider.sessions.streaming import Delivered, MeteredStream, StreamLimits
from retainer_provider.sessions.unreserved import refusal_of
from retainer_provider.tariffs import ONE_UNIT, RunningCount, Tariff
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.failures import UpstreamFailure
from retainer_provider.wire.flow import Flow
from retainer_provider.wire.problems import broken_term, failure_answer
from retainer_provider.wire.upstream import UpstreamResult
from retainer_provider.wire.views import request_receipt, session_receipt

_log = structlog.get_logger(__name__)
_standard_log = logging.getLogger(__name__)

T = TypeVar("T")

# How often a process looks whether another one has finished the first run of a repeated request.
_LOOK_AGAIN_SECONDS: Final = 0.1


class MeteredRequest(msgspec.Struct, frozen=True):
    """A request fully read. `target` is raw path and query; without `key` it is its own and cannot be repeated.

    `tariff` is what its route costs; `max_units` the most that its client sends it for, where it says so.
    """

    method: str
    target: str
    body: bytes
    key: str | None
    voucher: SignedVoucher | None = None
    tariff: Tariff = ONE_UNIT
    max_units: int | None = None


Call = Callable[[MeteredRequest], Awaitable[UpstreamResult]]
"""Hands a request to the service that is sold."""


class DeliveryKind(StrEnum):
    """What an answer cost."""

    CHARGED = "charged"
    FREE = "free"  # it broke the SLA
    REPLAYED = "replayed"  # booked before


class Delivery(msgspec.Struct, frozen=True):
    """What may leave: booked and durable. A replayed answer's body may be gone."""

    answer: StoredAnswer
    kind: DeliveryKind


def short_of_units(request: MeteredRequest) -> Refusal | None:
    """Why a request that may cost more than its client expects is not served."""
    most = request.tariff.max_units
    if request.max_units is None or most <= request.max_units:
        return None
    return Refusal(
        ProblemType.UNITS_NEEDED,
        f"This request may cost {most} units, and was sent for {request.max_units} at most: send it again with "
        f"{HEADER_MAX_UNITS}: {most}. Nothing was charged.",
        extra={"maxUnits": most},
    )


class Finished(msgspec.Struct, frozen=True):
    """What was answered in the end; a stream, which is not ``kept``, without its body."""

    answer: Answer
    latency_ms: int
    digest: bytes
    length: int
    fits: bool | None = None  # the agreed schema
    kept: bool = True


class _Run(msgspec.Struct, frozen=True):
    """A request with the money held for it, as its session was at that moment."""

    record: SessionRecord
    request: MeteredRequest
    reservation: Reservation
    cost: Quote  # at most
    terms: SlaTerms | None

    def judged(self, status: int, latency_ms: int, length: int, *, fits: bool | None = None) -> Verdict:
        """Whether an answer like this keeps the SLA; what flows is held against no schema."""
        return judge(self.terms, Observation(status, latency_ms, length, self.request.method, fits))

    def price(self, units: int) -> Quote:
        """What so many units cost."""
        return self.cost if units == self.cost.units else quote(self.record.price, units)


class Metering:
    """`wait` is how long a repeated request waits for its first run, in seconds."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        operator: Signer,
        clock: Clock,
        wait: float,
        streams: StreamLimits = StreamLimits(),  # noqa: B008 - frozen
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._ledger = ledger
        self._operator = operator
        self._clock = clock
        self._wait = wait
        self._stream_limits = streams
        self._observer = observer
        self._running: dict[tuple[str, str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: set[MeteredStream] = set()

    async def serve(self, record: SessionRecord, request: MeteredRequest, call: Call) -> Delivery | MeteredStream:
        """Meter one authenticated request; RefusedError when it is not served, which costs nothing.

        A stream's charge grows with it, and is booked when it ends or is closed: whoever gets one closes it.
        """
        # In a task of its own: some servers cancel a request when its client leaves.
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Delivery | MeteredStream] = loop.create_future()
        self._tasks.add(loop.create_task(self._serve_to(done, record, request, call)))
        return await done

    async def accept(self, record: SessionRecord, voucher: SignedVoucher) -> SessionRecord:
        """Keep a voucher without serving anything for it; RefusedError when it is not above what was accepted."""
        nothing = quote(record.price, units=0)
        request = MeteredRequest(method="HEAD", target="", body=b"", key=None, voucher=voucher)
        reserved = await self._reserve(record, request, nothing)
        if reserved.reservation is None:
            raise refusal_of(reserved.outcome, reserved.session or record, nothing)
        # The voucher is durable by now; the hold of nothing is not needed.
        await self._ledger.release(reserved.reservation)
        return await self._ledger.session(record.session_id) or record

    async def aclose(self, grace: float) -> None:
        """Let running requests finish for `grace` seconds; the rest is given up, uncharged and undelivered."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*(stream.aclose() for stream in self._streams), return_exceptions=True)

    async def _serve_to(
        self,
        done: "asyncio.Future[Delivery | MeteredStream]",
        record: SessionRecord,
        request: MeteredRequest,
        call: Call,
    ) -> None:
        try:
            delivery = await self._serve(record, request, call)
            if not done.done():
                done.set_result(delivery)
            elif isinstance(delivery, MeteredStream):  # begun meanwhile, and nobody is left to read it
                await delivery.aclose()
        except asyncio.CancelledError:
            done.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it was, who waits must not wait for ever
            if not isinstance(error, RefusedError):
                _log.exception("request_not_booked")
            if not done.done():
                done.set_exception(error)
        finally:
            self._tasks.discard(asyncio.current_task())

    async def _serve(self, record: SessionRecord, request: MeteredRequest, call: Call) -> Delivery | MeteredStream:
        cost = quote(record.price, request.tariff.max_units)
        reserved = await self._reserve(record, request, cost)
        if reserved.answer is not None:
            return Delivery(reserved.answer, DeliveryKind.REPLAYED)
        if reserved.reservation is None:
            raise refusal_of(reserved.outcome, reserved.session or record, cost)
        current = reserved.session or record
        return await self._run(_Run(current, request, reserved.reservation, cost, session_terms(current)), call)

    async def _reserve(self, record: SessionRecord, request: MeteredRequest, cost: Quote) -> ReserveResult:
        wanted = ReserveRequest(
            session_id=record.session_id,
            key=request.key,
            fingerprint=request_digest(request.method, request.target, request.body),
            amount=cost.amount,
            units=cost.units,
            now=self._clock.now(),
            voucher=request.voucher,
        )
        give_up_at = None
        while True:
            result = await self._written("reserve", self._ledger.reserve(wanted))
            if result.outcome is not ReserveOutcome.IN_FLIGHT:
                return result
            give_up_at = give_up_at or self._clock.monotonic() + self._wait
            left = give_up_at - self._clock.monotonic()
            first = self._running.get((record.session_id, request.key or ""))
            if left <= 0:
                return result
            if first is None:  # it runs in another process, whose end shows in the books
                await asyncio.sleep(min(left, _LOOK_AGAIN_SECONDS))
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(first.wait(), left)

    async def _run(self, run: _Run, call: Call) -> Delivery | MeteredStream:
        finished, key = asyncio.Event(), (run.record.session_id, run.request.key or "")
        if run.request.key is not None:
            self._running[key] = finished
        flowing: MeteredStream | None = None

        def end() -> None:
            finished.set()
            if run.request.key is not None:
                self._running.pop(key, None)

        try:
            result = await call(run.request)
            if isinstance(result.outcome, Flow):
                flow = result.outcome
                if not run.judged(flow.head.status, result.latency_ms, JSON_INTEGER_MAX).breached:
                    flowing = self._flowing(run, result, flow, end)
                    return flowing
                # What breaks its SLA is free, and free answers are counted before they leave.
                limits = self._stream_limits
                result = replace(result, outcome=await flow.whole(limits.event, limits.pause))
            return await self._commit(run, result)
        except BaseException:
            # After a commit this changes nothing; before one, it gives the price back.
            with contextlib.suppress(Exception):
                await asyncio.shield(self._ledger.release(run.reservation))
            raise
        finally:
            if flowing is None:
                end()

    def _flowing(self, run: _Run, result: UpstreamResult, flow: Flow, end: Callable[[], None]) -> MeteredStream:
        head = flow.head

        def finished(delivered: Delivered) -> tuple[Finished, Verdict]:
            whole = Finished(replace(head, body=b""), result.latency_ms, delivered.digest, delivered.length, kept=False)
            return whole, run.judged(head.status, result.latency_ms, delivered.length)

        async def keep(delivered: Delivered) -> bool:
            whole, verdict = finished(delivered)
            progress = Progress(decide(verdict, run.price(delivered.units)), self._draft(run, whole), head.headers)
            kept = await self._written("deliver", self._ledger.deliver(run.reservation, progress))
            return kept is DeliverOutcome.KEPT

        async def book(delivered: Delivered) -> str | None:
            try:
                committed = await self._book(run, *finished(delivered), delivered.units)
                return None if committed.answer is None else committed.answer.receipt
            except BaseException:
                with contextlib.suppress(Exception):
                    await asyncio.shield(self._ledger.release(run.reservation))
                raise
            finally:
                self._streams.discard(stream)
                end()

        stream = MeteredStream(
            head.with_headers((HEADER_RECEIPT.lower(), session_receipt(run.record, self._operator, self._clock.now()))),
            flow,
            RunningCount(run.request.tariff, lambda: flow.said),
            keep=keep,
            book=book,
            max_units=run.request.tariff.max_units,
            limits=self._stream_limits,
            clock=self._clock,
        )
        self._streams.add(stream)
        return stream

    async def _commit(self, run: _Run, result: UpstreamResult) -> Delivery:
        outcome, units, tariff = result.outcome, 0, run.request.tariff
        if isinstance(outcome, Answer):
            answer, failure = outcome, None
            units = tariff.used(result.said, answer.body)
            if tariff.count is not None and tariff.counted(result.said, answer.body) is None:
                _log.warning("usage_not_told", target=run.request.target, count=tariff.count, charged=units)
        else:
            failure = outcome if isinstance(outcome, UpstreamFailure) else UpstreamFailure.BROKEN
            answer = failure_answer(failure)
        fits = None
        if run.terms is not None and run.terms.response_schema is not None:
            fits = await schema_ok(run.terms, run.request.method, answer.status, answer.body)
        verdict = run.judged(answer.status, result.latency_ms, len(answer.body), fits=fits)
        if failure is not None:  # an upstream that gave no answer breaks the SLA whatever was agreed
            verdict = Verdict(broken_term(failure), failure.value)
        finished = Finished(answer, result.latency_ms, body_digest(answer.body), len(answer.body), fits)
        committed = await self._book(run, finished, verdict, units)
        if committed.outcome is CommitOutcome.FREE_EXHAUSTED:
            raise refusal_of(ReserveOutcome.FREE_EXHAUSTED, committed.session or run.record, run.price(units))
        if committed.outcome is CommitOutcome.LOST or committed.answer is None:
            raise refuse(
                ProblemType.SERVICE_UNAVAILABLE,
                "The request could not be booked, so its answer is withheld and nothing was charged: send it again.",
                retry_after=1,
            )
        return Delivery(committed.answer, DeliveryKind.FREE if verdict.breached else DeliveryKind.CHARGED)

    async def _book(self, run: _Run, finished: Finished, verdict: Verdict, units: int) -> CommitResult:
        """Charge ``units``, or nothing where the SLA was broken, and keep what was answered."""
        answer, now = finished.answer, self._clock.now()

        def finish(facts: CommitFacts) -> StoredAnswer:
            receipt = request_receipt(facts.session, facts.entry, facts.usage_hash, self._operator, now)
            return StoredAnswer(answer.status, answer.headers, answer.body if finished.kept else None, receipt)

        draft = self._draft(run, finished)
        charge = decide(verdict, run.price(units))
        end = Commit(run.reservation, charge, draft, finish, now, quick=signs_here(self._operator))
        committed = await self._written("commit", self._ledger.commit(end))
        # Asked first, since a record is put together before its level is looked at.
        if committed.outcome is CommitOutcome.COMMITTED and _standard_log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "request_metered",
                session=run.record.session_id,
                sequence=committed.sequence,
                status=answer.status,
                latency_ms=finished.latency_ms,
                term=verdict.term,
                units=charge.units,
            )
        return committed

    def _draft(self, run: _Run, finished: Finished) -> UsageDraft:
        return UsageDraft(
            timestamp_ms=self._clock.now_ms(),
            method=run.request.method,
            target=run.request.target,
            request_digest=run.reservation.fingerprint.hex(),
            response_digest=finished.digest.hex(),
            status=finished.answer.status,
            latency_ms=finished.latency_ms,
            body_bytes=finished.length,
            schema_ok=finished.fits,
        )

    async def _written(self, call: str, write: Awaitable[T]) -> T:
        """What a call of the ledger gives, with its time told, however it ends."""
        started = self._clock.monotonic()
        try:
            return await write
        finally:
            self._observer.wrote(call, self._clock.monotonic() - started)
