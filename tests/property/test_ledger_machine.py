"""Any sequence of calls, restarts included: reserved + spent never exceed the deposit, nothing is charged twice.

The model is a few dictionaries; the ledger must agree with it after every step.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer.protocol.usage import usage_root
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import (
    CloseBegin,
    CommitOutcome,
    DepositOutcome,
    PlanOutcome,
    RecordOutcome,
    ReleaseOutcome,
    ReserveOutcome,
)
from retainer_provider.books.records import Reservation, ReserveRequest, SettlementPlan, StoredAnswer
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.sqlite import SqliteLedger
from tests.books import NOW, SIGNATURE, commit_of, fingerprint, open_session
from tests.postgres import empty

T = TypeVar("T")

DEPOSIT = 100
KEYS = st.sampled_from(["a", "b", "c", None])
TEXTS = st.sampled_from(["one", "two"])


@dataclass
class Model:
    """What a session must look like."""

    deposit: int = DEPOSIT
    spent: int = 0
    state: SessionState = SessionState.ACTIVE
    sequence: int = 0
    free: int = 0
    running: dict[int, Reservation] = field(default_factory=dict)
    answers: dict[str, tuple[bytes, StoredAnswer]] = field(default_factory=dict)

    @property
    def reserved(self) -> int:
        return sum(reservation.amount for reservation in self.running.values())


class LedgerMachine(RuleBasedStateMachine):
    sessions = Bundle("sessions")
    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.models: dict[str, Model] = {}
        self.ledger = self.run(self.open_books())

    async def open_books(self) -> Ledger:
        return await SqliteLedger.open(Path(self.folder.name) / "ledger.db")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.ledger.aclose())
        self.loop.close()
        self.folder.cleanup()

    @rule(target=sessions, cap=st.sampled_from([None, 2]))
    def open(self, cap: int | None) -> str:
        session_id = self.run(
            open_session(self.ledger, len(self.models), deposit=DEPOSIT, price=1, max_free_answers=cap)
        )
        self.models[session_id] = Model()
        return session_id

    @rule(target=reservations, session_id=sessions, key=KEYS, text=TEXTS, amount=st.integers(0, 60))
    def reserve(
        self, session_id: str, key: str | None, text: str, amount: int
    ) -> Reservation | MultipleResults[Reservation]:
        model = self.models[session_id]
        print_ = fingerprint(text)
        result = self.run(self.ledger.reserve(ReserveRequest(session_id, key, print_, amount, 1, NOW)))
        expected = self.expected(session_id, model, key, print_, amount)
        assert result.outcome is expected
        if result.outcome is ReserveOutcome.REPLAY and key is not None:
            assert result.answer == model.answers[key][1]
        if result.reservation is None:
            return multiple()
        model.running[result.reservation.id] = result.reservation
        return result.reservation

    def expected(  # noqa: PLR0911 - one return per outcome
        self, session_id: str, model: Model, key: str | None, print_: bytes, amount: int
    ) -> ReserveOutcome:
        if key in model.answers and key is not None:
            return ReserveOutcome.REPLAY if model.answers[key][0] == print_ else ReserveOutcome.CONFLICT
        twins = [one for one in model.running.values() if one.key == key and key is not None]
        if twins:
            return ReserveOutcome.IN_FLIGHT if twins[0].fingerprint == print_ else ReserveOutcome.CONFLICT
        if model.state is SessionState.CLOSING:
            return ReserveOutcome.CLOSING
        if model.state is SessionState.REFUNDED:
            return ReserveOutcome.CLOSED
        record = self.run(self.ledger.session(session_id))
        assert record is not None
        if record.max_free_answers is not None and model.free >= record.max_free_answers:
            return ReserveOutcome.FREE_EXHAUSTED
        if amount > model.deposit - model.spent - model.reserved:
            return ReserveOutcome.DEPLETED
        return ReserveOutcome.RESERVED

    @rule(reservation=reservations, charged=st.booleans(), share=st.integers(0, 100))
    def commit(self, reservation: Reservation, charged: bool, share: int) -> None:  # noqa: FBT001
        """Also of reservations that ended before, or were made before a restart."""
        model = self.models[reservation.session_id]
        end = commit_of(reservation, charged=charged)
        if charged:
            amount = BaseUnits(reservation.amount * share // 100)
            end = replace(end, charge=Charge(charged=True, units=1, amount=amount))
        lives = reservation.id in model.running and model.state is not SessionState.REFUNDED
        result = self.run(self.ledger.commit(end))
        assert (result.outcome is CommitOutcome.COMMITTED) is lives
        model.running.pop(reservation.id, None)
        if lives:
            assert result.answer is not None
            model.spent += end.charge.amount
            model.sequence += 1
            model.free += not charged
            assert result.sequence == model.sequence
            if reservation.key is not None:
                model.answers[reservation.key] = (reservation.fingerprint, result.answer)

    @rule(reservation=consumes(reservations))
    def release(self, reservation: Reservation) -> None:
        model = self.models[reservation.session_id]
        released = self.run(self.ledger.release(reservation)) is ReleaseOutcome.RELEASED
        assert released is (model.running.pop(reservation.id, None) is not None)

    @rule(session_id=sessions, deposit=st.integers(0, 3 * DEPOSIT))
    def top_up(self, session_id: str, deposit: int) -> None:
        model = self.models[session_id]
        outcome = self.run(self.ledger.update_deposit(session_id, deposit, NOW))
        if model.state is SessionState.REFUNDED:
            assert outcome is DepositOutcome.NOT_OPEN
        else:
            assert (outcome is DepositOutcome.APPLIED) is (deposit > model.deposit)
            model.deposit = max(model.deposit, deposit)

    @rule(session_id=sessions)
    def close(self, session_id: str) -> None:
        model = self.models[session_id]
        started = self.run(self.ledger.begin_close(session_id, "asked", NOW)) is CloseBegin.STARTED
        assert started is (model.state is SessionState.ACTIVE)
        if started:
            model.state = SessionState.CLOSING

    @rule(session_id=sessions)
    def settle(self, session_id: str) -> None:
        model = self.models[session_id]
        record = self.run(self.ledger.session(session_id))
        assert record is not None
        plan = SettlementPlan(record.spent, record.units_charged, record.remaining, record.usage_root, record.opened_at)
        outcome = self.run(self.ledger.plan_settlement(session_id, plan, NOW))
        if model.state is not SessionState.CLOSING:
            assert outcome is PlanOutcome.NOT_CLOSING
        elif model.running:
            assert outcome is PlanOutcome.IN_FLIGHT
        else:
            assert outcome is PlanOutcome.PLANNED
            self.run(self.ledger.store_signed(session_id, b"transaction", SIGNATURE, 1))
            recorded = self.run(self.ledger.record_settled(session_id, SIGNATURE, plan.amount, plan.refund, NOW))
            assert recorded is RecordOutcome.RECORDED
            model.state = SessionState.REFUNDED

    @rule(session_id=sessions, settled=st.integers(0, DEPOSIT), short=st.integers(0, 1))
    def withdrawn(self, session_id: str, settled: int, short: int) -> None:
        """The payer's exit ends it whatever is in flight, if the numbers are the deposit."""
        model = self.models[session_id]
        refunded = model.deposit - settled - short
        recorded = self.run(self.ledger.record_settled(session_id, SIGNATURE, settled, max(refunded, 0), NOW))
        if model.state is SessionState.CLOSING:
            assert (recorded is RecordOutcome.RECORDED) is (settled + max(refunded, 0) == model.deposit)
        if recorded is RecordOutcome.RECORDED:
            model.state = SessionState.REFUNDED

    @rule()
    def restart(self) -> None:
        self.run(self.ledger.aclose())
        self.ledger = self.run(self.open_books())
        for model in self.models.values():
            model.running.clear()

    @invariant()
    def agree(self) -> None:
        for session_id, model in self.models.items():
            record = self.run(self.ledger.session(session_id))
            assert record is not None
            assert (record.state, record.deposit, record.spent) == (model.state, model.deposit, model.spent)
            assert (record.reserved, record.sequence) == (model.reserved, model.sequence)
            if model.state is SessionState.REFUNDED:
                assert record.settled is not None
                assert record.refund is not None
                assert record.settled + record.refund == record.deposit
            else:
                assert record.reserved + record.spent <= record.deposit
            log = self.run(self.ledger.usage(session_id))
            assert [entry.sequence for entry in log] == list(range(1, model.sequence + 1))
            assert sum(entry.amount for entry in log) == record.spent
            assert usage_root(log) == record.usage_root
            digests = [entry.key_digest for entry in log if entry.key_digest is not None]
            assert len(set(digests)) == len(digests), "a key was charged twice"


def test_the_ledger_in_a_file_agrees_with_its_model() -> None:
    run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


def test_the_ledger_on_postgres_agrees_with_its_model(postgres_server: str) -> None:
    """``restart`` is a process that ends; what it held is given back."""

    class PostgresMachine(LedgerMachine):
        async def open_books(self) -> Ledger:
            if not self.models:
                empty(postgres_server)
            return await PostgresLedger.open(postgres_server, connections=2)

    run_state_machine_as_test(
        PostgresMachine, settings=settings(max_examples=25, stateful_step_count=40, deadline=None)
    )
