"""The way out: closing, what is planned with credits, signed, landed or withdrawn; and sessions of lost books."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer_provider.books.outcomes import AdoptOutcome, CloseBegin, PlanOutcome, RecordOutcome, SignedOutcome
from retainer_provider.books.records import Adoption, Custody, SettlementPlan
from retainer_provider.settling.settlement import Mismatch, plan_refund, plan_settlement
from tests.books import NOW, SIGNATURE, account_of, new_session
from tests.machine.base import DEPOSIT, ESCROWED, PRICE, SESSIONS, Machine
from tests.machine.model import Model

ROOT = b"\x07" * 32
_ON_CLOSE = {
    SessionState.PENDING: CloseBegin.PENDING,
    SessionState.ACTIVE: CloseBegin.STARTED,
    SessionState.CLOSING: CloseBegin.ALREADY,
}


class Settling(Machine):
    """The planner of settlements is the real one, and the chain an account."""

    @precondition(lambda self: any(self.served(model) for model in self.models.values()))
    @rule(session_id=SESSIONS)
    def close(self, session_id: str) -> None:
        model = self.models[session_id]
        outcome = self.run(self.ledger.begin_close(session_id, "asked", NOW))
        self.came_to(outcome, _ON_CLOSE.get(model.state, CloseBegin.CLOSED))
        if outcome is CloseBegin.STARTED:
            model.state = SessionState.CLOSING

    @rule(session_id=ESCROWED)
    def settle_without_close(self, session_id: str) -> None:
        """On chain, of what is spent so far: no credit takes that back."""
        model = self.models[session_id]
        if model.state is not SessionState.REFUNDED and model.plan is None:
            model.account = replace(model.account, settled=BaseUnits(model.spent), charged_units=model.units)

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=SESSIONS, crooked=st.sampled_from([0, 0, 0, 1]), credit=st.sampled_from([0, 0, 1, 2, 50]))
    def plan(self, session_id: str, crooked: int, credit: int) -> None:
        """The planner refuses exactly what chain and books disagree about, the ledger any plan but the books' own."""
        model = self.models[session_id]
        planned = self.planned(session_id, credit)
        if isinstance(planned, Mismatch):
            self.met["plans refused for a deposit not yet heard of"] += 1
            assert model.account.deposit != model.deposit, planned.reason
            return
        if model.state is not SessionState.REFUNDED:
            given = min(credit, model.units - model.account.charged_units)
            assert planned.charged_units == model.units - given
            assert planned.amount == model.spent - given * model.account.price_per_unit >= model.account.settled
            assert planned.amount + planned.refund == model.deposit
        planned = replace(planned, amount=BaseUnits(planned.amount + crooked))
        outcome = self.run(self.ledger.plan_settlement(session_id, planned, NOW))
        self.came_to(outcome, model.on_plan(as_booked=not crooked, awaited=self.awaits(session_id)))
        if outcome is PlanOutcome.PLANNED:
            model.plan = planned
            self.met["plans that give units back"] += planned.amount < model.spent

    def planned(self, session_id: str, credit: int) -> SettlementPlan | Mismatch:
        model, record = self.models[session_id], self.booked(session_id)
        if model.custody is Custody.PROVIDER:
            return plan_refund(record, credit)
        return plan_settlement(record, model.account, credit)

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=SESSIONS)
    def sign(self, session_id: str) -> None:
        """Once, and again for a transaction that died."""
        model = self.models[session_id]
        may = model.state is SessionState.CLOSING and model.plan is not None
        outcome = self.run(self.ledger.store_signed(session_id, b"transaction", SIGNATURE, 1))
        self.came_to(outcome, SignedOutcome.STORED if may else SignedOutcome.NO_PLAN)
        model.signatures += may

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=SESSIONS)
    def land(self, session_id: str) -> None:
        """The chain pays what was signed and refunds the rest of its own deposit; told again, it changes nothing."""
        model = self.models[session_id]
        if model.plan is not None and model.signatures:
            custodial = model.custody is Custody.PROVIDER
            deposit = model.deposit if custodial else model.account.deposit
            self.met["custodial refunds"] += custodial and model.state is SessionState.CLOSING
            self.record(session_id, model.plan.amount, deposit - model.plan.amount)

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=ESCROWED, settled=st.integers(0, DEPOSIT), short=st.sampled_from([0, 0, 0, 1]))
    def withdrawn(self, session_id: str, settled: int, short: int) -> None:
        """The payer's exit ends it whatever is in flight, if the numbers are the deposit."""
        self.record(session_id, settled, max(self.models[session_id].account.deposit - settled - short, 0))

    @precondition(lambda self: any(self.served(model) for model in self.models.values()))
    @rule(session_id=SESSIONS, credit=st.sampled_from([0, 1]), lands=st.sampled_from([True, True, False]))
    def settle(self, session_id: str, credit: int, lands: bool) -> None:  # noqa: FBT001
        """All the way, or as far as it gets."""
        self.close(session_id)
        self.plan(session_id, 0, credit)
        self.sign(session_id)
        if lands:
            self.land(session_id)

    def record(self, session_id: str, settled: int, refunded: int) -> None:
        model = self.models[session_id]
        outcome = self.run(self.ledger.record_settled(session_id, SIGNATURE, settled, refunded, NOW))
        self.came_to(outcome, model.on_record(settled, refunded))
        if outcome is RecordOutcome.RECORDED:
            model.state, model.settled = SessionState.REFUNDED, settled

    @precondition(Machine.has_room)
    @rule(targets=(SESSIONS, ESCROWED), units=st.integers(0, DEPOSIT // PRICE))
    def adopt(self, units: int) -> str:
        """A session of books that were lost, with what a receipt proves."""
        number = len(self.models)
        adoption = self.adoption(number, units)
        self.came_to(self.run(self.ledger.adopt(adoption)), AdoptOutcome.ADOPTED)
        self.models[adoption.new.session_id] = Model(
            account_of(adoption.new),
            None,
            DEPOSIT,
            spent=adoption.spent,
            units=units,
            state=SessionState.CLOSING,
            sequence=adoption.sequence,
            forgotten=adoption.sequence,
        )
        return adoption.new.session_id

    @rule(session_id=SESSIONS, units=st.integers(0, DEPOSIT // PRICE))
    def adopt_what_is_known(self, session_id: str, units: int) -> None:
        """What the books say stands, whatever a receipt says."""
        adoption = self.adoption(list(self.models).index(session_id), units)
        self.came_to(self.run(self.ledger.adopt(adoption)), AdoptOutcome.KNOWN)

    @staticmethod
    def adoption(number: int, units: int) -> Adoption:
        new = new_session(number, deposit=DEPOSIT, price=PRICE)
        return Adoption(
            new=new,
            account=account_of(new),
            spent=BaseUnits(units * PRICE),
            units_charged=units,
            sequence=units + 1,
            usage_root=ROOT,
            voucher=None,
            reason="the books were lost",
            now=NOW,
        )
