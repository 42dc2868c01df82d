"""One turn from its request to its line in the thread, however often it is begun.

Reserve, ask, keep, charge, write down: the same key and the same request each time. A turn that a dead process left is
run again from the top, and finds what was kept and what was charged.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import structlog

from retainer.protocol.problems import ProblemType
from retainer.protocol.receipts import parse_receipt
from retainer_provider.books.ledger import Ledger, LedgerUnavailableError
from retainer_provider.books.records import SessionRecord
from retainer_provider.cards import turns
from retainer_provider.cards.executors import Answered, Failed, Make, counted_units
from retainer_provider.cards.messages import reply_of
from retainer_provider.cards.records import Charged, Fenced, Hold, Turn, TurnKind
from retainer_provider.cards.titles import shortened
from retainer_provider.clock import Clock
from retainer_provider.offers import Offer
from retainer_provider.sessions.metering import Call, Delivery, MeteredRequest
from retainer_provider.sessions.refusals import Refusal, RefusedError
from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.sessions.vouchers import check_metered
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.failures import UpstreamFailure
from retainer_provider.wire.routing import Priced
from retainer_provider.wire.upstream import UpstreamResult

_log = structlog.get_logger(__name__)

# What comes of others being at it, or of a moment's trouble: nothing is wrong with the turn.
_PASSING: Final = frozenset(
    {
        ProblemType.REQUEST_IN_FLIGHT,
        ProblemType.TOO_MANY_REQUESTS,
        ProblemType.SERVICE_BUSY,
        ProblemType.CHAIN_UNAVAILABLE,
        ProblemType.SERVICE_UNAVAILABLE,
    }
)
_TRIES: Final = 30
_FIRST_PAUSE: Final = 0.2
_LAST_PAUSE: Final = 5.0
# So often those who watch hear how far an answer is.
_TELL_SECONDS: Final = 0.3
_LOST: Final = Refusal(
    ProblemType.SERVICE_UNAVAILABLE, "Another process has this responder now: it goes on with the turn."
)


class Seller(Protocol):
    """The engine, as far as turns need it."""

    async def serve(
        self, record: SessionRecord, offer: Offer, read: Callable[[], Awaitable[MeteredRequest]], call: Call
    ) -> Delivery | MeteredStream:
        """Meter one request of a session whose right to it is proven."""
        ...


@dataclass(frozen=True, slots=True)
class Staffed:
    """A responder as this process can ask it: where it is at home, what a turn costs, what is sent where, by whom."""

    home: str
    priced: Priced
    target: str
    compose: turns.Compose
    make: Make


class Ran(StrEnum):
    """Of running a turn."""

    ENDED = "ended"
    FAILED = "failed"
    LOST = "lost"  # another host goes on


class Runner:
    """Runs turns of the responders that this process can ask."""

    def __init__(self, *, ledger: Ledger, engine: Seller, clock: Clock, staff: Mapping[str, Staffed]) -> None:
        self._ledger = ledger
        self._engine = engine
        self._clock = clock
        self._staff = staff

    async def run(self, held: Hold, turn: Turn) -> Ran:
        """Run it until it is ended, failed, or another's. LedgerUnavailableError: nothing is known, run it again."""
        refusal: Refusal | None = None
        pause = _FIRST_PAUSE
        # One for all tries: what was answered is not asked for again.
        attempt = _Attempt(self._ledger, self._clock, self._staff[turn.responder], held, turn)
        for _ in range(_TRIES):
            try:
                record = await self._ledger.session(turn.session_id)
                if record is None:
                    raise LookupError(f"card {turn.card} is of session {turn.session_id}, which is not there")
                if (broken := check_metered(record)) is not None:
                    raise RefusedError(broken)
                delivery = await attempt.deliver(self._engine, record)
                return await attempt.write_down(delivery)
            except RefusedError as error:
                refusal = error.refusal
            if attempt.lost:
                return Ran.LOST
            if refusal.problem not in _PASSING:
                break
            await asyncio.sleep(max(pause, refusal.retry_after or 0))
            pause = min(2 * pause, _LAST_PAUSE)
        detail = "" if refusal is None else refusal.detail
        blocked = refusal is not None and refusal.problem not in _PASSING
        return await attempt.fail(detail, over=False, blocked=blocked)


class _Attempt:
    """What running a turn has come to."""

    def __init__(self, ledger: Ledger, clock: Clock, staffed: Staffed, held: Hold, turn: Turn) -> None:
        self._ledger = ledger
        self._clock = clock
        self._staffed = staffed
        self._held = held
        self._turn = turn
        self._answered = None if turn.answer is None else Answered.from_text(turn.answer)
        self._told_at = -_TELL_SECONDS  # what comes first is told at once
        self.lost = False

    async def deliver(self, engine: Seller, record: SessionRecord) -> Delivery:
        """Have it charged, by the engine that charges every request."""
        offer, tariff = self._staffed.priced.offer, counted_units(self._staffed.priced.tariff)
        body = self._turn.request.encode()

        async def read() -> MeteredRequest:
            return MeteredRequest("POST", self._staffed.target, body, self._turn.key, tariff=tariff)

        delivery = await engine.serve(record, offer, read, self._call)
        if isinstance(delivery, MeteredStream):
            await delivery.aclose()
            raise TypeError("a turn's answer is taken whole, and was given as a stream")
        return delivery

    async def write_down(self, delivery: Delivery) -> Ran:
        """The end of a turn whose attempt is booked."""
        reply = None if self._answered is None else reply_of(self._answered.content_type, self._answered.body)
        if reply is None:
            detail = "The responder gave no answer. Nothing was charged: try again."
            return await self.fail(detail, over=True, blocked=False)
        metered = parse_receipt(delivery.answer.receipt).retainer
        booked = None if metered is None else metered.metered
        charged = Charged(
            text=shortened(reply.text) if self._turn.kind is TurnKind.TITLE else reply.text,
            preview=shortened(reply.text),
            resume=reply.resume,
            units=int(booked.units) if booked is not None and booked.charged else 0,
            amount=int(booked.amount) if booked is not None and booked.charged else 0,
        )
        ended = await self._ledger.transact(turns.end(self._held, self._turn, charged, self._clock.now_ms()))
        return Ran.LOST if ended is Fenced.LOST else Ran.ENDED

    async def fail(self, detail: str, *, over: bool, blocked: bool) -> Ran:
        """The turn waits for somebody to try again."""
        _log.info("turn_failed", card=self._turn.card, turn=self._turn.number, reason=detail)
        steps = turns.fail(self._held, self._turn, detail, self._clock.now_ms(), over=over, blocked=blocked)
        return Ran.LOST if await self._ledger.transact(steps) is Fenced.LOST else Ran.FAILED

    async def _call(self, request: MeteredRequest) -> UpstreamResult:
        if self._answered is None:
            outcome = await self._staffed.make().run(self._turn, self._held.fence, self._say)
            if isinstance(outcome, Failed):
                return UpstreamResult(outcome.reason, outcome.latency_ms)
            if reply_of(outcome.content_type, outcome.body) is None or self._untitled(outcome):
                return UpstreamResult(UpstreamFailure.BROKEN, outcome.latency_ms)
            await self._keep(outcome)
            self._answered = outcome
        kept = self._answered
        answer = Answer(200, (("content-type", kept.content_type),), kept.body)
        return UpstreamResult(answer, kept.latency_ms, kept.units)

    def _untitled(self, outcome: Answered) -> bool:
        """Whether what should be a title holds nothing to see."""
        reply = reply_of(outcome.content_type, outcome.body)
        return self._turn.kind is TurnKind.TITLE and (reply is None or not shortened(reply.text))

    async def _keep(self, outcome: Answered) -> None:
        try:
            kept = await self._ledger.transact(turns.keep(self._held, self._turn, outcome.to_text()))
        except LedgerUnavailableError:
            raise RefusedError(_LOST) from None
        if kept is Fenced.LOST:
            self.lost = True
            raise RefusedError(_LOST)

    async def _say(self, text: str) -> None:
        now = self._clock.monotonic()
        if text and now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            with contextlib.suppress(LedgerUnavailableError):
                await self._ledger.transact(turns.say(self._held, self._turn, text, self._clock.now_ms()))
