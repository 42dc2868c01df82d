"""What a session must look like in any ledger: a few fields, and the rules of the design as plain arithmetic."""

from dataclasses import dataclass, field

from retainer.protocol.session import SessionAccount, SessionState
from retainer_provider.books.outcomes import CommitOutcome, DepositOutcome, PlanOutcome, RecordOutcome, ReserveOutcome
from retainer_provider.books.records import Reservation, SettlementPlan, StoredAnswer


@dataclass
class Model:
    """One session. ``account`` is the chain's side of it, which the books may not have heard of yet."""

    account: SessionAccount
    cap: int | None
    deposit: int
    spent: int = 0
    units: int = 0
    state: SessionState = SessionState.ACTIVE
    sequence: int = 0
    free: int = 0
    settled: int = 0
    plan: SettlementPlan | None = None
    signatures: int = 0
    running: dict[int, Reservation] = field(default_factory=dict)
    answers: dict[str, tuple[bytes, StoredAnswer]] = field(default_factory=dict)

    @property
    def reserved(self) -> int:
        return sum(reservation.amount for reservation in self.running.values())

    def on_reserve(self, key: str | None, print_: bytes, amount: int) -> ReserveOutcome:  # noqa: PLR0911 - one each
        if key is not None and key in self.answers:
            return ReserveOutcome.REPLAY if self.answers[key][0] == print_ else ReserveOutcome.CONFLICT
        twins = [one for one in self.running.values() if one.key == key and key is not None]
        if twins:
            return ReserveOutcome.IN_FLIGHT if twins[0].fingerprint == print_ else ReserveOutcome.CONFLICT
        if self.state is SessionState.CLOSING:
            return ReserveOutcome.CLOSING
        if self.state is SessionState.REFUNDED:
            return ReserveOutcome.CLOSED
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

    def on_deposit(self, deposit: int) -> DepositOutcome:
        if self.state is SessionState.REFUNDED:
            return DepositOutcome.NOT_OPEN
        return DepositOutcome.APPLIED if deposit > self.deposit else DepositOutcome.UNCHANGED

    def on_plan(self, *, as_booked: bool) -> PlanOutcome:
        if self.state is not SessionState.CLOSING:
            return PlanOutcome.NOT_CLOSING
        if self.signatures:
            return PlanOutcome.SIGNED
        if self.running:
            return PlanOutcome.IN_FLIGHT
        return PlanOutcome.PLANNED if as_booked else PlanOutcome.STALE

    def on_record(self, settled: int, refunded: int) -> RecordOutcome:
        if self.state is SessionState.REFUNDED:
            return RecordOutcome.ALREADY
        if self.state is not SessionState.CLOSING:
            return RecordOutcome.NOT_CLOSING
        return RecordOutcome.RECORDED if settled + refunded == self.deposit else RecordOutcome.MISMATCH
