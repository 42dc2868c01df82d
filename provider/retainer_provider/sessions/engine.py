"""The one engine behind the gate and the JSON API: everything that is decided about sessions is decided here."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.actions import CloseAction, OpenAction, TopUpAction, UseAction, VoucherAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.challenges import Challenge
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState
from retainer.protocol.signing import Signer
from retainer.protocol.views import SessionView
from retainer_provider.books.ledger import Ledger, LedgerError
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.offers import Offer
from retainer_provider.sessions.authority import Authority
from retainer_provider.sessions.closing import Closer
from retainer_provider.sessions.fairness import Fairness
from retainer_provider.sessions.holding import Holding
from retainer_provider.sessions.metering import Call, Delivery, MeteredRequest, Metering, short_of_units
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.streaming import MeteredStream
from retainer_provider.sessions.vouchers import check_closing_voucher, check_metered, check_signer, check_voucher
from retainer_provider.settling.crediting import credited
from retainer_provider.wire.answers import Answer
from retainer_provider.wire.challenger import Challenger
from retainer_provider.wire.problems import needs_challenge, problem_answer
from retainer_provider.wire.routing import Priced
from retainer_provider.wire.views import session_receipt, session_view

CHAIN_UNAVAILABLE: Final = Refusal(
    ProblemType.CHAIN_UNAVAILABLE,
    "The chain cannot be seen at the moment, so nothing is sold blindly and nothing was charged: try again later.",
    retry_after=5,
)


_DEPOSIT_UNSEEN: Final = Refusal(
    ProblemType.CHAIN_UNAVAILABLE,
    "The chain does not have this session's deposit at the moment, so nothing is sold for it and nothing was charged: "
    "try again later.",
    retry_after=5,
)


class ChainWatch(Protocol):
    """How old the service's view of the chain may be (F32)."""

    async def seen(self, record: SessionRecord) -> bool:
        """Whether the payer's exit from this session would have been seen early enough."""
        ...

    def frozen(self, session_id: str) -> bool:
        """Whether the chain lacks what this session was credited with (F06)."""
        ...


@dataclass(frozen=True, slots=True)
class Statement:
    """A session and the signed receipt about it; no receipt while it is still closing."""

    view: SessionView
    receipt: str | None


class Engine:
    """Sessions opened, topped up, used, shown and closed. Every refusal is a RefusedError and costs nothing."""

    def __init__(
        self,
        *,
        challenger: Challenger,
        holding: Holding,
        metering: Metering,
        closer: Closer,
        ledger: Ledger,
        watch: ChainWatch,
        operator: Signer,
        clock: Clock,
        fairness: Fairness,
    ) -> None:
        self._challenger = challenger
        self._holding = holding
        self._metering = metering
        self._closer = closer
        self._ledger = ledger
        self._authority = Authority(challenger, ledger)
        self._watch = watch
        self._operator = operator
        self._clock = clock
        self._fairness = fairness

    async def open(self, challenge: Challenge, action: OpenAction, caller: str) -> Statement:
        """Open the session that a deposit pays for, or find it open already; not often for one `caller`."""
        self._fairness.require_room_for_unpaid(caller)
        return await self._statement(await self._holding.open(challenge, action))

    async def top_up(self, challenge: Challenge, action: TopUpAction) -> Statement:
        """Add to a session's deposit, or find it added already."""
        return await self._statement(await self._holding.top_up(challenge, action))

    async def payable(self, challenge: Challenge, action: UseAction | VoucherAction) -> SessionRecord:
        """The session that a request pays from, as it was opened: see ``Authority.opened``."""
        if isinstance(action, VoucherAction):
            self._authority.require_signed(challenge, action.signed)
            record = await self._authority.opened(action.channel_id)
            _require(check_voucher(action.signed, record, self._clock.now()))
        else:
            self._authority.require_proven(challenge, action.channel_id, action.authentication)
            record = await self._authority.opened(action.channel_id)
            self._authority.require_payer(challenge, action.authentication, record)
            _require(check_metered(record))
        return record

    async def serve(
        self, record: SessionRecord, offer: Offer, read: Callable[[], Awaitable[MeteredRequest]], call: Call
    ) -> Delivery | MeteredStream:
        """Meter one request of a session whose right to it is proven. Its body is read only here."""
        if record.offer_id != offer.id:
            raise refuse(
                ProblemType.VERIFICATION_FAILED,
                f"Session {record.session_id} was opened for offer {record.offer_id!r}, and this is sold as "
                f"{offer.id!r}: open a session for it.",
            )
        if not await self._watch.seen(record):
            raise RefusedError(CHAIN_UNAVAILABLE)
        if self._watch.frozen(record.session_id):
            raise RefusedError(_DEPOSIT_UNSEEN)
        payer = record.payer
        self._fairness.admit(payer)
        delivery = None
        try:
            request = await read()
            if request.max_units is not None:
                _require(short_of_units(request))
            delivery = await self._metering.serve(record, request, call)
            return delivery
        finally:
            if isinstance(delivery, MeteredStream):
                delivery.at_end(lambda: self._fairness.leave(payer))
            else:
                self._fairness.leave(payer)

    async def accept(self, challenge: Challenge, action: VoucherAction) -> Statement:
        """Take a voucher ahead of the requests that it is for: nothing is served for it, and nothing charged."""
        record = await self._authority.vouched(challenge, action.channel_id, action.signed)
        _require(check_voucher(action.signed, record, self._clock.now()))
        return await self._statement(await self._metering.accept(record, action.signed))

    async def close(self, challenge: Challenge, action: CloseAction) -> Statement:
        """Close a session on its payer's word; the statement has a receipt once the chain has settled it."""
        if action.voucher is not None:
            record = await self._authority.vouched(challenge, action.channel_id, action.voucher)
            _require(check_closing_voucher(action.voucher, record, self._clock.now()))
        else:
            record = await self._authority.authenticate(challenge, action.channel_id, action.authentication)
            _require(check_metered(record))
        return await self.end(record)

    async def end(self, record: SessionRecord) -> Statement:
        """Close a session whose payer's word is proven."""
        return await self._statement(await self._closer.close(record))

    async def show(self, challenge: Challenge, action: UseAction | VoucherAction) -> SessionView:
        """A session as whoever can pay from it may see it, at any time, for nothing."""
        return await self.view(await self.owned(challenge, action))

    async def owned(self, challenge: Challenge, action: UseAction | VoucherAction) -> SessionRecord:
        """The session that whoever sends this can pay from; no voucher is taken for it."""
        if isinstance(action, VoucherAction):
            record = await self._authority.vouched(challenge, action.channel_id, action.signed)
            _require(check_signer(action.signed, record))
            return record
        return await self._authority.authenticate(challenge, action.channel_id, action.authentication)

    async def view(self, record: SessionRecord) -> SessionView:
        """A session as people see it now."""
        return session_view(record, self._clock.now(), await self._credited(record))

    async def refusal(self, refusal: Refusal, target: Priced | None, caller: str, hint: str | None = None) -> Answer:
        """A refusal as an answer, with a fresh challenge for `target`; without any for a `caller` who asks too often.

        Where a first request names a session of this offer that can pay, as `hint`, the challenge resumes that one.
        """
        if too_often := self._fairness.too_often(refusal, caller):
            return problem_answer(too_often, None)
        challenge = None
        if hint is not None and target is not None and refusal.problem is ProblemType.PAYMENT_REQUIRED:
            challenge = await self._resumed(target, hint)
        if target is not None and challenge is None:
            try:
                challenge = await self._challenger.issue(target.offer, target.tariff.max_units)
            except ChainUnavailableError:
                if needs_challenge(refusal.problem):
                    refusal = CHAIN_UNAVAILABLE
        return problem_answer(refusal, challenge)

    async def _resumed(self, target: Priced, session_id: str) -> Challenge | None:
        offer = target.offer
        try:
            record = await self._ledger.session(session_id)
        except LedgerError:
            return None
        if record is None or (record.offer_id, record.mint) != (offer.id, offer.mint):
            return None
        can_pay = record.state_at(self._clock.now()) is SessionState.ACTIVE
        return self._challenger.resume(offer, record, target.tariff.max_units) if can_pay else None

    async def aclose(self) -> None:
        """Stop waiting for top-ups."""
        await self._holding.aclose()

    async def _statement(self, record: SessionRecord) -> Statement:
        now, back = self._clock.now(), await self._credited(record)
        settling = record.state is SessionState.CLOSING
        receipt = None if settling else await asyncio.to_thread(session_receipt, record, self._operator, now, back)
        return Statement(session_view(record, now, back), receipt)

    async def _credited(self, record: SessionRecord) -> BaseUnits | None:
        if record.settled is None:
            return None
        return credited(record, await self._ledger.settlement(record.session_id))


def _require(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal)
