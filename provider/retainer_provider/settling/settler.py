"""Settling sessions to finality, exactly once, through whatever crashes, timeouts and lies of nodes lie between.

The rule (F13, F14): the signed transaction is on disk before it is sent; the same bytes are sent again until they are
final or dead, that is, until the *finalized* chain is past their last valid height and no node knows their signature;
only then, and only if the account is still there, another transaction is signed. What happened is always
read from the chain. Even two live transactions could pay only once, since the first removes the session.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import structlog
from msgspec.structs import replace
from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.confirm import ConfirmationOutcome, Timer, look_up
from retainer.chain.errors import (
    ChainUnavailableError,
    ForeignAccountError,
    SendOutcomeUnknownError,
    TransactionRefusedError,
)
from retainer.chain.sessions import session_account
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.session import ChainStatus, SessionAccount, SessionState
from retainer.protocol.signing import Signer
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import ClaimOutcome, PlanOutcome, RecordOutcome, RelandOutcome, SignedOutcome
from retainer_provider.books.records import Custody, SessionRecord, Settlement, SettlementPlan, SettlementStage
from retainer_provider.clock import Clock
from retainer_provider.monitoring.observer import UNOBSERVED, Observer
from retainer_provider.settling.closing_transaction import CloseBuilder, CloseRefused, CostPolicy
from retainer_provider.settling.crediting import availability_of
from retainer_provider.settling.forks import Forks, forked
from retainer_provider.settling.payout import Payout
from retainer_provider.settling.removal import Removal, RemovalKind, find_removal
from retainer_provider.settling.settlement import Mismatch, plan_settlement
from retainer_provider.signers import SigningError

_log = structlog.get_logger(__name__)

_DEADLINE_PASSED: Final = 6154
# A refund that is blocked is no race: what pays the payee meanwhile may offer more at once.
_PAYOUT_ATTEMPT: Final = 1


class SettlementOutcome(StrEnum):
    """How far a settlement got. The first three are the end; the others but the last are worth another try later."""

    SETTLED = "settled"
    WITHDRAWN = "withdrawn"  # the payer took its exit first
    VANISHED = "vanished"  # a fork took the opening back: the payer kept its deposit, the payee gets nothing
    UNDER_WAY = "under_way"  # the chain did not answer, or does not say yet what happened
    REFUND_BLOCKED = "refund_blocked"  # the payee is paid; the payer's token account takes no refund
    TOO_LATE = "too_late"  # past the deadline: only the payer's withdrawal ends it
    REFUSED = "refused"
    MISMATCH = "mismatch"
    NOT_CLOSING = "not_closing"

    @property
    def is_end(self) -> bool:
        """Whether nothing is left to do."""
        return self in _OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlerOptions:
    """``costs`` is what settling may cost; ``alarm_before`` is as for ``SessionRecord.urgent``."""

    program_id: Pubkey = PROGRAM_ID
    costs: CostPolicy = field(default_factory=CostPolicy)
    alarm_before: int | None = None
    poll_seconds: float = 1.0
    parallel: int = 16  # calls under way at the node


Step = Callable[[SessionRecord], Awaitable[SettlementOutcome | None]]
"""One move of a CLOSING session that this process has claimed; None to look again after a while."""


class Settler:
    """Brings CLOSING sessions to REFUNDED. One per process; any number of calls at a time.

    ``refund`` moves those that are custodial.

    Where processes share the books, each session is settled by the one that claimed it; the others wait for the end.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        ledger: Ledger,
        operator: Signer,
        clock: Clock,
        timer: Timer,
        options: SettlerOptions | None = None,
        observer: Observer = UNOBSERVED,
        refund: Step | None = None,
    ) -> None:
        self._refund = refund
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._timer = timer
        self._options = options or SettlerOptions()
        self._observer = observer
        self._builder = CloseBuilder(chain, operator, self._options.program_id, self._options.costs)
        self._payout = Payout(chain=chain, builder=self._builder, timer=timer)
        self._forks = Forks(chain, self._options.program_id)
        self._alarmed: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots = asyncio.Semaphore(self._options.parallel)

    async def settle(self, session_id: str) -> SettlementOutcome:
        """Settle one session to finality, as far as it gets; may be called again, also while it runs.

        Cancelling it loses nothing: the next call continues from the books. LedgerUnavailableError is all it raises.
        """
        async with self._locks[session_id]:
            outcome = await self._settle(session_id)
        self._observer.tried_to_settle(str(outcome))
        self._alarmed.discard(session_id)
        if outcome.is_end:
            self._locks.pop(session_id, None)
            self._forks.forget(session_id)
        return outcome

    async def _settle(self, session_id: str) -> SettlementOutcome:
        while True:
            await self._ledger.drained(session_id)
            record = await self._ledger.session(session_id)
            if record is None or record.state not in (SessionState.CLOSING, SessionState.REFUNDED):
                return SettlementOutcome.NOT_CLOSING
            if record.state is SessionState.REFUNDED:
                return SettlementOutcome.SETTLED
            if await self._ledger.claim_settlement(session_id) is ClaimOutcome.ELSEWHERE:
                # Another process is at it: what it does shows in the books, and if it dies, its claim does.
                await self._timer.sleep(self._options.poll_seconds)
                continue
            self._warn_of_deadline(record)
            try:
                async with self._slots:
                    outcome = await self._step(record)
            except ChainUnavailableError as error:
                _log.warning("settlement_waits_for_the_chain", session=session_id, reason=str(error))
                return SettlementOutcome.UNDER_WAY
            except SigningError as error:
                _log.error("settlement_waits_for_the_signer", session=session_id, reason=str(error))
                return SettlementOutcome.UNDER_WAY
            if outcome is not None:
                return outcome
            await self._timer.sleep(self._options.poll_seconds)

    async def _step(self, record: SessionRecord) -> SettlementOutcome | None:
        """One move; None when it should be looked at again after a while."""
        if record.custody is Custody.PROVIDER:
            return await self._step_custodial(record)
        settlement = await self._ledger.settlement(record.session_id)
        try:
            if settlement is not None and settlement.stage is SettlementStage.SIGNED:
                return await self._follow(record, settlement)
            account = await self._account(record)
        except ForeignAccountError as error:
            return self._mismatch(record, str(error))
        if account is None:
            return await self._attribute(record)
        return await self._plan(record, account)

    async def _step_custodial(self, record: SessionRecord) -> SettlementOutcome | None:
        if self._refund is not None:
            return await self._refund(record)
        _log.error("refund_key_missing", session=record.session_id)
        return SettlementOutcome.REFUSED

    async def _plan(self, record: SessionRecord, account: SessionAccount) -> SettlementOutcome | None:
        if account.deposit > record.deposit:  # a top-up that nobody told us of
            await self._ledger.update_deposit(record.session_id, account.deposit, self._clock.now())
            record = await self._ledger.session(record.session_id) or record
        after_fork = forked(record, account)
        if after_fork:
            survivor = await self._forks.survivor(record)
            if survivor is None:
                return None
            account = survivor
            record = await self._reland(record, account)
        availability = await availability_of(self._ledger, record)
        plan = plan_settlement(record, account, availability.credit_units, after_fork=after_fork)
        if isinstance(plan, Mismatch):
            return self._mismatch(record, plan.reason)
        planned = await self._ledger.plan_settlement(record.session_id, plan, self._clock.now())
        if planned is not PlanOutcome.PLANNED:
            return None  # the books moved on: look again
        return await self._sign(record, account, plan, attempts=0)

    async def _reland(self, record: SessionRecord, account: SessionAccount) -> SessionRecord:
        """The session as it landed again on another fork: its time of opening is the account's."""
        _log.error(
            "session_forked",
            session=record.session_id,
            credited=record.deposit,
            deposit=account.deposit,
            unpayable=max(0, record.spent - account.deposit),
        )
        if account.opened_at == record.opened_at:
            return record
        # Unless it was removed and opened anew: then its removal is what the books still have to learn (C48).
        if await find_removal(self._chain, Pubkey.from_string(record.session_id), self._options.program_id) is None:
            taken = await self._ledger.reland(record.session_id, account.opened_at)
            if taken is RelandOutcome.TAKEN:
                return replace(record, opened_at=account.opened_at)
        return record

    async def _sign(
        self, record: SessionRecord, account: SessionAccount, plan: SettlementPlan, *, attempts: int
    ) -> SettlementOutcome | None:
        address = Pubkey.from_string(record.session_id)
        signed = await self._builder.close(
            address, account, record.token_program, plan, attempts, voucher=record.voucher
        )
        if isinstance(signed, CloseRefused):
            return await self._refused(record, account, plan, signed)
        stored = await self._ledger.store_signed(
            record.session_id, signed.raw, signed.signature, signed.last_valid_block_height
        )
        if stored is SignedOutcome.STORED:
            _log.info("settlement_signed", session=record.session_id, attempt=attempts + 1)
            await self._send(record, signed.raw)
        return None

    async def _follow(self, record: SessionRecord, settlement: Settlement) -> SettlementOutcome | None:
        """Wait for the signed transaction, sending it again; replace it only when it is dead."""
        signature, raw = settlement.signature or "", settlement.raw or b""
        height = settlement.last_valid_block_height
        match await look_up(self._chain, signature, Commitment.FINALIZED, height):
            case ConfirmationOutcome.UNKNOWN:
                await self._send(record, raw)
                return None
            case ConfirmationOutcome.LANDED:
                own = Removal(RemovalKind.CLOSED, signature, settlement.plan.amount, None)
                return await self._attribute(record, own)
            case dead:
                _log.warning("settlement_dead", session=record.session_id, outcome=str(dead))
        account = await self._account(record)
        if account is None:
            return await self._attribute(record)
        return await self._sign(record, account, settlement.plan, attempts=settlement.attempts)

    async def _send(self, record: SessionRecord, raw: bytes) -> None:
        try:
            await self._chain.send(raw)
        except SendOutcomeUnknownError as error:
            _log.warning("settlement_send_unanswered", session=record.session_id, reason=str(error))
        except TransactionRefusedError as error:
            _log.warning("settlement_send_refused", session=record.session_id, reason=str(error))

    async def _attribute(self, record: SessionRecord, own: Removal | None = None) -> SettlementOutcome:
        """Record what removed the account; ``own`` is known to be final, whatever else the node remembers of it."""
        address = Pubkey.from_string(record.session_id)
        expected = None if own is None else own.signature
        removal = await find_removal(self._chain, address, self._options.program_id, expected=expected) or own
        now = self._clock.now()
        if removal is None:
            if await self._forks.vanished(record, now):
                await self._ledger.record_settled(record.session_id, None, 0, record.deposit, now)
                _log.error("session_vanished", session=record.session_id, unpaid=record.spent)
                return SettlementOutcome.VANISHED
            _log.warning("settlement_unattributed", session=record.session_id)
            return SettlementOutcome.UNDER_WAY
        if removal.deposit is not None and removal.deposit > record.deposit:
            await self._ledger.update_deposit(record.session_id, removal.deposit, now)
        # What a fork took back of the deposit never left the payer.
        deposit = max(removal.deposit or 0, record.deposit)
        refunded = BaseUnits(deposit - removal.settled)
        recorded = await self._ledger.record_settled(
            record.session_id, removal.signature, removal.settled, refunded, now
        )
        if recorded is RecordOutcome.MISMATCH:
            return self._mismatch(record, f"{removal.settled} settled and {refunded} refunded are not the deposit")
        _log.info(
            "session_settled",
            session=record.session_id,
            kind=str(removal.kind),
            settled=removal.settled,
            refunded=refunded,
            unpaid=record.spent - removal.settled,
        )
        return _ENDS[removal.kind]

    async def _refused(
        self, record: SessionRecord, account: SessionAccount, plan: SettlementPlan, refused: CloseRefused
    ) -> SettlementOutcome:
        _log.error("settlement_refused", session=record.session_id, reason=refused.reason)
        if refused.code == _DEADLINE_PASSED:
            return SettlementOutcome.TOO_LATE
        if not refused.refund_blocked:
            return SettlementOutcome.REFUSED
        if account.settled == plan.amount:
            return SettlementOutcome.REFUND_BLOCKED
        # A payer can delay its own refund, but not the payee's money.
        paid = await self._payout.pay(record, account, plan, attempt=_PAYOUT_ATTEMPT)
        return SettlementOutcome.REFUSED if isinstance(paid, CloseRefused) else SettlementOutcome.REFUND_BLOCKED

    async def _account(self, record: SessionRecord) -> SessionAccount | None:
        """The session's account, unless it is gone or keeps but its address (C48)."""
        account = await session_account(
            self._chain,
            Pubkey.from_string(record.session_id),
            program_id=self._options.program_id,
        )
        return None if account is None or account.status is ChainStatus.CLOSED else account

    def _mismatch(self, record: SessionRecord, reason: str) -> SettlementOutcome:
        _log.error("settlement_mismatch", session=record.session_id, reason=reason)
        return SettlementOutcome.MISMATCH

    def _warn_of_deadline(self, record: SessionRecord) -> None:
        now = self._clock.now()
        urgent = record.urgent(now, self._options.alarm_before)
        if record.deadline is not None and urgent and record.session_id not in self._alarmed:
            self._alarmed.add(record.session_id)
            left = record.deadline - now
            _log.error("settlement_urgent", session=record.session_id, seconds_left=left, unpaid=record.spent)


_OVER: Final = frozenset(
    {
        SettlementOutcome.SETTLED,
        SettlementOutcome.WITHDRAWN,
        SettlementOutcome.VANISHED,
        SettlementOutcome.NOT_CLOSING,
    }
)
_ENDS: Final = {
    RemovalKind.CLOSED: SettlementOutcome.SETTLED,
    RemovalKind.WITHDRAWN: SettlementOutcome.WITHDRAWN,
}
