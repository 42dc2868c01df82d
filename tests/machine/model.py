"""What a session must look like in any ledger: a few fields, and the rules of the design as plain arithmetic."""

from dataclasses import dataclass, field

from retainer.protocol.session import SessionAccount, SessionState
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import (
    CommitOutcome,
    CreditOutcome,
    DeliverOutcome,
    DepositOutcome,
    ExpectOutcome,
    PlanOutcome,
    RecordOutcome,
    ReserveOutcome,
)
from retainer_provider.books.records import Custody, Reservation, SettlementPlan, StoredAnswer

_BARRED = {
    SessionState.PENDING: ReserveOutcome.PENDING,
    SessionState.CLOSING: ReserveOutcome.CLOSING,
    SessionState.REFUNDED: ReserveOutcome.CLOSED,
    SessionState.ABANDONED: ReserveOutcome.CLOSED,
}
_OPEN = (SessionState.ACTIVE, SessionState.CLOSING)


@dataclass
class Model:
    """One session. ``account`` is the chain's side of it, which the books may not have heard of yet.

    ``streams`` are those of the running requests of which something has left, ``cut`` those that nobody sends any more;
    ``forgotten`` requests were metered in books that were lost.
    """

    account: SessionAccount
    cap: int | None
    deposit: int
    custody: Custody = Custody.ESCROW
    spent: int = 0
    units: int = 0
    state: SessionState = SessionState.ACTIVE
    sequence: int = 0
    forgotten: int = 0
    free: int = 0
    settled: int = 0
    plan: SettlementPlan | None = None
    signatures: int = 0
    running: dict[int, Reservation] = field(default_factory=dict)
    streams: dict[int, Charge] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)
    answers: dict[str, tuple[bytes, StoredAnswer]] = field(default_factory=dict)

    @property
    def reserved(self) -> int:
        return sum(reservation.amount for reservation in self.running.values())

    def die(self) -> None:
        """The process ended: its requests are released, but for what had left of streams."""
        self.running = {number: held for number, held in self.running.items() if number in self.streams}
        self.cut = set(self.streams)

    def end(self, reservation: Reservation) -> None:
        """The request is over, whatever it came to."""
        self.running.pop(reservation.id, None)
        self.streams.pop(reservation.id, None)
        self.cut.discard(reservation.id)

    def on_reserve(self, key: str | None, print_: bytes, amount: int) -> ReserveOutcome:
        if key is not None and key in self.answers:
            return ReserveOutcome.REPLAY if self.answers[key][0] == print_ else ReserveOutcome.CONFLICT
        twins = [one for one in self.running.values() if one.key == key and key is not None]
        if twins:
            return ReserveOutcome.IN_FLIGHT if twins[0].fingerprint == print_ else ReserveOutcome.CONFLICT
        if self.state in _BARRED:
            return _BARRED[self.state]
        if self.has_had_all_free:
            return ReserveOutcome.FREE_EXHAUSTED
        if amount > self.deposit - self.spent - self.reserved:
            return ReserveOutcome.DEPLETED
        return ReserveOutcome.RESERVED

    @property
    def has_had_all_free(self) -> bool:
        return self.cap is not None and self.free >= self.cap

    def on_commit(self, reservation: Reservation, *, charged: bool) -> CommitOutcome:
        if reservation.id not in self.running:
            return CommitOutcome.LOST
        if not charged and self.has_had_all_free:
            return CommitOutcome.FREE_EXHAUSTED
        return CommitOutcome.LOST if self.state is SessionState.REFUNDED else CommitOutcome.COMMITTED

    def charge(self, reservation: Reservation, charge: Charge, answer: StoredAnswer) -> None:
        """A commit took effect."""
        self.spent += charge.amount
        self.units += charge.units
        self.sequence += 1
        self.free += not charge.charged
        if reservation.key is not None:
            self.answers[reservation.key] = (reservation.fingerprint, answer)

    def on_deliver(self, reservation: Reservation) -> DeliverOutcome:
        if reservation.id not in self.running or reservation.id in self.cut or self.state not in _OPEN:
            return DeliverOutcome.LOST
        return DeliverOutcome.KEPT

    def on_deposit(self, deposit: int) -> DepositOutcome:
        if self.state is SessionState.REFUNDED:
            return DepositOutcome.NOT_OPEN
        return DepositOutcome.APPLIED if deposit > self.deposit else DepositOutcome.UNCHANGED

    def on_plan(self, *, as_booked: bool, awaited: bool) -> PlanOutcome:
        if self.state is not SessionState.CLOSING:
            return PlanOutcome.NOT_CLOSING
        if self.signatures:
            return PlanOutcome.SIGNED
        if self.running:
            return PlanOutcome.IN_FLIGHT
        return PlanOutcome.PLANNED if as_booked and not awaited else PlanOutcome.STALE

    def on_record(self, settled: int, refunded: int) -> RecordOutcome:
        if self.state is SessionState.REFUNDED:
            return RecordOutcome.ALREADY
        if self.state is not SessionState.CLOSING:
            return RecordOutcome.NOT_CLOSING
        return RecordOutcome.RECORDED if settled + refunded == self.deposit else RecordOutcome.MISMATCH


@dataclass
class TransferModel:
    """A custodial deposit, whose signature serves one session for ever."""

    session_id: str
    amount: int
    stage: str = "expected"  # then "credited" or "dead"

    def on_expect(self, session_id: str) -> ExpectOutcome:
        if session_id != self.session_id:
            return ExpectOutcome.REPLAYED
        return ExpectOutcome.DEAD if self.stage == "dead" else ExpectOutcome.KNOWN

    def on_credit(self, session_id: str, session: Model) -> CreditOutcome:
        if session_id != self.session_id:
            return CreditOutcome.REFUSED
        if self.stage == "credited":
            return CreditOutcome.ALREADY
        may = self.stage == "expected" and session.state in (SessionState.PENDING, *_OPEN)
        return CreditOutcome.CREDITED if may else CreditOutcome.REFUSED
