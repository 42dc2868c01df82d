"""One metered request: reserve, call, judge, commit, answer. In that order, and never an answer without its commit.

A request that is reserved runs to its end whatever becomes of its client: charged and kept for a retry, or free.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import structlog
from solders.keypair import Keypair

from retainer.protocol.amounts import format_amount
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import VoucherSigner
from retainer.protocol.sla import Observation, Verdict, judge
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Quote, decide, quote
from retainer_provider.books.outcomes import CommitOutcome, ReserveOutcome, ReserveResult
from retainer_provider.books.records import (
    Commit,
    CommitFacts,
    Reservation,
    ReserveRequest,
    SessionRecord,
    StoredAnswer,
    UsageDraft,
)
from retainer_provider.books.terms import session_terms
from retainer_provider.clock import Clock
from retainer_provider.monitoring.observer import UNOBSERVED, Observer, writing
from retainer_provider.sessions.refusals import RefusedError, refuse
from retainer_provider.sessions.schema import schema_ok
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.problems import broken_term, failure_answer
from retainer_provider.wire.upstream import UpstreamFailure, UpstreamResult
from retainer_provider.wire.views import request_receipt

_log = structlog.get_logger(__name__)

# How often a process looks whether another one has finished the first run of a repeated request.
_LOOK_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class MeteredRequest:
    """A request fully read. `target` is raw path and query; without `key` it is its own and cannot be repeated."""

    method: str
    target: str
    body: bytes
    key: str | None
    voucher: SignedVoucher | None = None


Call = Callable[[MeteredRequest], Awaitable[UpstreamResult]]
"""Hands a request to the service that is sold."""


class DeliveryKind(StrEnum):
    """What an answer cost."""

    CHARGED = "charged"
    FREE = "free"  # it broke the SLA
    REPLAYED = "replayed"  # booked before


@dataclass(frozen=True, slots=True)
class Delivery:
    """What may leave: booked and durable. A replayed answer's body may be gone."""

    answer: StoredAnswer
    kind: DeliveryKind


class Metering:
    """`wait` is how long a repeated request waits for its first run, in seconds."""

    def __init__(
        self, *, ledger: Ledger, operator: Keypair, clock: Clock, wait: float, observer: Observer = UNOBSERVED
    ) -> None:
        self._ledger = ledger
        self._operator = operator
        self._clock = clock
        self._wait = wait
        self._observer = observer
        self._running: dict[tuple[str, str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Delivery]] = set()

    async def serve(self, record: SessionRecord, request: MeteredRequest, call: Call) -> Delivery:
        """Meter one authenticated request; RefusedError when it is not served, which costs nothing."""
        # In a task of its own: some servers cancel a request when its client leaves.
        task = asyncio.create_task(self._serve(record, request, call))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def accept(self, record: SessionRecord, voucher: SignedVoucher) -> SessionRecord:
        """Keep a voucher without serving anything for it; RefusedError when it is not above what was accepted."""
        nothing = quote(record.price, units=0)
        request = MeteredRequest(method="HEAD", target="", body=b"", key=None, voucher=voucher)
        reserved = await self._reserve(record, request, nothing)
        if reserved.reservation is None:
            raise _refusal(reserved.outcome, reserved.session or record, nothing)
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

    async def _serve(self, record: SessionRecord, request: MeteredRequest, call: Call) -> Delivery:
        cost = quote(record.price)
        reserved = await self._reserve(record, request, cost)
        if reserved.answer is not None:
            return Delivery(reserved.answer, DeliveryKind.REPLAYED)
        if reserved.reservation is None:
            raise _refusal(reserved.outcome, reserved.session or record, cost)
        return await self._run(record, request, reserved.reservation, cost, call)

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
        give_up_at = self._clock.monotonic() + self._wait
        while True:
            with writing(self._observer, self._clock, "reserve"):
                result = await self._ledger.reserve(wanted)
            if result.outcome is not ReserveOutcome.IN_FLIGHT:
                return result
            left = give_up_at - self._clock.monotonic()
            first = self._running.get((record.session_id, request.key or ""))
            if left <= 0:
                return result
            if first is None:  # it runs in another process, whose end shows in the books
                await asyncio.sleep(min(left, _LOOK_AGAIN_SECONDS))
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(first.wait(), left)

    async def _run(
        self, record: SessionRecord, request: MeteredRequest, reservation: Reservation, cost: Quote, call: Call
    ) -> Delivery:
        finished = asyncio.Event()
        if request.key is not None:
            self._running[record.session_id, request.key] = finished
        try:
            return await self._commit(record, request, reservation, cost, await call(request))
        except BaseException:
            # After a commit this changes nothing; before one, it gives the price back.
            with contextlib.suppress(Exception):
                await asyncio.shield(self._ledger.release(reservation))
            raise
        finally:
            finished.set()
            if request.key is not None:
                self._running.pop((record.session_id, request.key), None)

    async def _commit(
        self,
        record: SessionRecord,
        request: MeteredRequest,
        reservation: Reservation,
        cost: Quote,
        result: UpstreamResult,
    ) -> Delivery:
        now = self._clock.now()
        answer, seen, verdict = await _judged(record, request, result)

        def finish(facts: CommitFacts) -> StoredAnswer:
            receipt = request_receipt(facts.session, facts.entry, facts.usage_hash, self._operator, now)
            return StoredAnswer(answer.status, answer.headers, answer.body, receipt)

        draft = UsageDraft(
            timestamp_ms=self._clock.now_ms(),
            method=request.method,
            target=request.target,
            request_digest=reservation.fingerprint.hex(),
            response_digest=body_digest(answer.body).hex(),
            status=answer.status,
            latency_ms=result.latency_ms,
            body_bytes=len(answer.body),
            schema_ok=seen.schema_ok,
        )
        charge = decide(verdict, cost)
        with writing(self._observer, self._clock, "commit"):
            committed = await self._ledger.commit(Commit(reservation, charge, draft, finish, now))
        if committed.outcome is CommitOutcome.FREE_EXHAUSTED:
            raise _refusal(ReserveOutcome.FREE_EXHAUSTED, committed.session or record, cost)
        if committed.outcome is CommitOutcome.LOST or committed.answer is None:
            raise refuse(
                ProblemType.SERVICE_UNAVAILABLE,
                "The request could not be booked, so its answer is withheld and nothing was charged: send it again.",
                retry_after=1,
            )
        _log.info(
            "request_metered",
            session=record.session_id,
            sequence=committed.sequence,
            status=answer.status,
            latency_ms=result.latency_ms,
            term=verdict.term,
        )
        return Delivery(committed.answer, DeliveryKind.FREE if verdict.breached else DeliveryKind.CHARGED)

    def _finished(self, task: asyncio.Task[Delivery]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, RefusedError):
            _log.error("request_not_booked", exc_info=error)


async def _judged(
    record: SessionRecord, request: MeteredRequest, result: UpstreamResult
) -> tuple[Answer, Observation, Verdict]:
    """The answer to give, what is noted of it, and whether it keeps the SLA.

    An upstream that gave none breaks it whatever was agreed.
    """
    outcome = result.outcome
    answer = failure_answer(outcome) if isinstance(outcome, UpstreamFailure) else outcome
    terms = session_terms(record)
    fit = await schema_ok(terms, request.method, answer.status, answer.body)
    seen = Observation(answer.status, result.latency_ms, len(answer.body), request.method, fit)
    if isinstance(outcome, UpstreamFailure):
        return answer, seen, Verdict(broken_term(outcome), outcome.value)
    return answer, seen, judge(terms, seen)


def _refusal(outcome: ReserveOutcome, record: SessionRecord, cost: Quote) -> RefusedError:
    problem, sentence, retry_after = _REFUSALS[outcome]
    left = record.remaining - record.reserved
    paid = format_amount(record.accepted, record.decimals)
    needed = format_amount(record.spent + record.reserved + cost.amount, record.decimals)
    detail = sentence.format(
        session=record.session_id,
        accepted=paid,
        needed=needed,
        deposit=format_amount(record.deposit, record.decimals),
        left=format_amount(max(left, 0), record.decimals),
        price=format_amount(cost.amount, record.decimals),
    )
    return refuse(problem, detail, retry_after=retry_after, extra=_facts(record))


def _facts(record: SessionRecord) -> dict[str, Json]:
    """What a client needs to put itself right, in base units."""
    accepted = {} if record.voucher_signer is VoucherSigner.OPERATOR else {"acceptedCumulative": str(record.accepted)}
    return {"sessionId": record.session_id, "spent": str(record.spent), "deposit": str(record.deposit), **accepted}


_REFUSALS: Final[Mapping[ReserveOutcome, tuple[ProblemType, str, int | None]]] = MappingProxyType(
    {
        ReserveOutcome.IN_FLIGHT: (
            ProblemType.REQUEST_IN_FLIGHT,
            "The first request with this Idempotency-Key is still running: send the same one again in a second.",
            1,
        ),
        ReserveOutcome.CONFLICT: (
            ProblemType.IDEMPOTENCY_CONFLICT,
            "This Idempotency-Key or voucher belongs to another request of this session: use a new one for another.",
            None,
        ),
        ReserveOutcome.DEPLETED: (
            ProblemType.SESSION_DEPLETED,
            "Session {session} has {left} left and this request costs {price}: top it up, or open another.",
            None,
        ),
        ReserveOutcome.VOUCHER_LOW: (
            ProblemType.VERIFICATION_FAILED,
            "The voucher does not pay for this: {accepted} were accepted before, {needed} are needed: sign for more.",
            None,
        ),
        ReserveOutcome.VOUCHER_HIGH: (
            ProblemType.VERIFICATION_FAILED,
            "The voucher exceeds the deposit of {deposit}: sign a lower one, or top the session up first.",
            None,
        ),
        ReserveOutcome.EXPIRED: (
            ProblemType.SESSION_EXPIRED,
            "Session {session} has expired: close it to get back the {left} that is left, and open another.",
            None,
        ),
        ReserveOutcome.CLOSING: (
            ProblemType.SESSION_CLOSING,
            "Session {session} is being closed and takes no more requests: open another.",
            None,
        ),
        ReserveOutcome.CLOSED: (ProblemType.SESSION_CLOSED, "Session {session} is closed: open another.", None),
        ReserveOutcome.PENDING: (
            ProblemType.DEPOSIT_UNCONFIRMED,
            "The deposit of session {session} is not confirmed yet: send the credential that opened it again.",
            2,
        ),
        ReserveOutcome.UNKNOWN: (
            ProblemType.SESSION_UNKNOWN,
            "This service knows no session {session}: open one with the fresh challenge.",
            None,
        ),
        ReserveOutcome.FREE_EXHAUSTED: (
            ProblemType.FREE_ANSWERS_EXHAUSTED,
            "Session {session} has had as many free answers as its offer gives: close it and open another later.",
            None,
        ),
    }
)
