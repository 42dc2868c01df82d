"""Any sequence of calls, restarts included: after every step the ledger agrees with its model, and money is conserved.

A store is a subclass that opens its books. The planner of settlements is the real one, and the chain an account.
"""

import asyncio
import tempfile
from abc import abstractmethod
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from msgspec import structs

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
    SignedOutcome,
)
from retainer_provider.books.records import Reservation, ReserveRequest, SessionRecord, SettlementStage
from retainer_provider.books.stores.postgres import PostgresLedger
from retainer_provider.books.stores.sqlite import SqliteLedger
from retainer_provider.settling.settlement import Mismatch, plan_settlement
from tests.books import NOW, SIGNATURE, account_of, commit_of, fingerprint, new_session, open_session
from tests.books_model import Model
from tests.postgres import empty

T = TypeVar("T")

DEPOSIT = 100
PRICE = 7
OPEN_AT_ONCE = 2
SERVED_BEFORE_CLOSE = 3
CAPS = st.sampled_from([None, 2])
PRICES = st.sampled_from([0, PRICE])
KEYS = st.sampled_from(["a", "b", "c", None])
TEXTS = st.sampled_from(["one", "two"])


class LedgerMachine(RuleBasedStateMachine):
    """The calls, in any order. ``met`` counts steps and what they came to, over all runs of a class."""

    met: ClassVar[Counter[str]]
    sessions = Bundle("sessions")
    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.models: dict[str, Model] = {}
        self.comparisons = 0
        self.ledger = self.run(self.open_books(Path(self.folder.name), anew=True))

    @abstractmethod
    async def open_books(self, folder: Path, *, anew: bool) -> Ledger:
        """Open the store: ``anew`` without any session, else with what was written."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def came_to(self, outcome: StrEnum, expected: StrEnum) -> None:
        self.met[f"{type(outcome).__name__}.{outcome}"] += 1
        assert outcome is expected, f"the ledger says {outcome!r}, the model {expected!r}"

    def teardown(self) -> None:
        self.met["steps"] += max(self.comparisons - 1, 0)  # the first is before any step
        self.run(self.ledger.aclose())
        self.loop.close()
        self.folder.cleanup()

    @staticmethod
    def served(model: Model) -> bool:
        return model.state is SessionState.ACTIVE and model.sequence >= SERVED_BEFORE_CLOSE

    def closing(self) -> set[str]:
        return {session_id for session_id, model in self.models.items() if model.state is SessionState.CLOSING}

    def booked(self, session_id: str) -> SessionRecord:
        record = self.run(self.ledger.session(session_id))
        assert record is not None
        return record

    # Few sessions at a time, so that what happens to one has a history.
    @initialize(target=sessions, cap=CAPS, price=PRICES)
    def open_first(self, cap: int | None, price: int) -> str:
        return self.admit(cap, price)

    @precondition(lambda self: sum(model.state is SessionState.ACTIVE for model in self.models.values()) < OPEN_AT_ONCE)
    @rule(target=sessions, cap=CAPS, price=PRICES)
    def open_another(self, cap: int | None, price: int) -> str:
        return self.admit(cap, price)

    def admit(self, cap: int | None, price: int) -> str:
        number = len(self.models)
        account = account_of(new_session(number, deposit=DEPOSIT, price=price))
        session_id = self.run(open_session(self.ledger, number, deposit=DEPOSIT, price=price, max_free_answers=cap))
        self.models[session_id] = Model(account, cap, DEPOSIT)
        return session_id

    @rule(target=reservations, session_id=sessions, key=KEYS, text=TEXTS, amount=st.integers(0, 60))
    def reserve(
        self, session_id: str, key: str | None, text: str, amount: int
    ) -> Reservation | MultipleResults[Reservation]:
        model = self.models[session_id]
        price = model.account.price_per_unit
        units = amount // price if price else 1
        amount = units * price if price else amount
        print_ = fingerprint(text)
        result = self.run(self.ledger.reserve(ReserveRequest(session_id, key, print_, amount, units, NOW)))
        self.came_to(result.outcome, model.on_reserve(key, print_, amount))
        if result.outcome is ReserveOutcome.REPLAY and key is not None:
            assert result.answer == model.answers[key][1]
        if result.reservation is None:
            return multiple()
        model.running[result.reservation.id] = result.reservation
        return result.reservation

    @rule(session_id=sessions, key=KEYS, text=TEXTS, amount=st.integers(0, 60), charged=st.booleans())
    def serve(self, session_id: str, key: str | None, text: str, amount: int, charged: bool) -> None:  # noqa: FBT001
        """A request from its first to its last moment."""
        reservation = self.reserve(session_id, key, text, amount)
        if isinstance(reservation, Reservation):
            self.commit(reservation, charged, 100)

    @rule(reservation=reservations, charged=st.booleans(), share=st.integers(0, 100))
    def commit(self, reservation: Reservation, charged: bool, share: int) -> None:  # noqa: FBT001
        """Also of reservations that ended before, or were made before a restart."""
        model = self.models[reservation.session_id]
        end = commit_of(reservation, charged=charged)
        if charged:
            price = model.account.price_per_unit
            units = reservation.units * share // 100 if price else 1
            amount = units * price if price else reservation.amount * share // 100
            end = structs.replace(end, charge=Charge(charged=True, units=units, amount=BaseUnits(amount)))
        expected = model.on_commit(reservation, charged=charged)
        result = self.run(self.ledger.commit(end))
        self.came_to(result.outcome, expected)
        model.running.pop(reservation.id, None)
        if expected is CommitOutcome.COMMITTED:
            assert result.answer is not None
            model.spent += end.charge.amount
            model.units += end.charge.units
            model.sequence += 1
            model.free += not charged
            assert result.sequence == model.sequence
            if reservation.key is not None:
                model.answers[reservation.key] = (reservation.fingerprint, result.answer)

    @rule(reservation=consumes(reservations))
    def release(self, reservation: Reservation) -> None:
        held = self.models[reservation.session_id].running.pop(reservation.id, None)
        outcome = self.run(self.ledger.release(reservation))
        self.came_to(outcome, ReleaseOutcome.RELEASED if held else ReleaseOutcome.GONE)

    @rule(session_id=sessions, more=st.integers(1, DEPOSIT), heard=st.booleans())
    def pay_in(self, session_id: str, more: int, heard: bool) -> None:  # noqa: FBT001
        """On chain; the books hear of it at once, later, or never."""
        model = self.models[session_id]
        if model.state is not SessionState.REFUNDED:
            model.account = replace(model.account, deposit=BaseUnits(model.account.deposit + more))
        if heard:
            self.hear_of_deposit(session_id, 0)

    @rule(session_id=sessions, behind=st.sampled_from([0, 0, 1, DEPOSIT]))
    def hear_of_deposit(self, session_id: str, behind: int) -> None:
        """What the account says now, or what it said long ago."""
        model = self.models[session_id]
        deposit = max(model.account.deposit - behind, 0)
        outcome = self.run(self.ledger.update_deposit(session_id, deposit, NOW))
        self.came_to(outcome, model.on_deposit(deposit))
        if outcome is DepositOutcome.APPLIED:
            model.deposit = deposit

    @precondition(lambda self: any(self.served(model) for model in self.models.values()))
    @rule(session_id=sessions)
    def close(self, session_id: str) -> None:
        model = self.models[session_id]
        expected = {SessionState.ACTIVE: CloseBegin.STARTED, SessionState.CLOSING: CloseBegin.ALREADY}
        outcome = self.run(self.ledger.begin_close(session_id, "asked", NOW))
        self.came_to(outcome, expected.get(model.state, CloseBegin.CLOSED))
        if outcome is CloseBegin.STARTED:
            model.state = SessionState.CLOSING

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=sessions, crooked=st.sampled_from([0, 0, 0, 1]))
    def plan(self, session_id: str, crooked: int) -> None:
        """The planner refuses exactly what chain and books disagree about, the ledger any plan but the books' own."""
        model = self.models[session_id]
        planned = plan_settlement(self.booked(session_id), model.account)
        if isinstance(planned, Mismatch):
            self.met["plans refused for a deposit not yet heard of"] += 1
            assert model.account.deposit != model.deposit, planned.reason
            return
        if model.state is not SessionState.REFUNDED:
            assert model.account.deposit == model.deposit
            assert (planned.amount, planned.amount + planned.refund) == (model.spent, model.deposit)
            assert planned.charged_units == model.units
        planned = replace(planned, amount=BaseUnits(planned.amount + crooked))
        outcome = self.run(self.ledger.plan_settlement(session_id, planned, NOW))
        self.came_to(outcome, model.on_plan(as_booked=not crooked))
        if outcome is PlanOutcome.PLANNED:
            model.plan = planned

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=sessions)
    def sign(self, session_id: str) -> None:
        """Once, and again for a transaction that died."""
        model = self.models[session_id]
        may = model.state is SessionState.CLOSING and model.plan is not None
        outcome = self.run(self.ledger.store_signed(session_id, b"transaction", SIGNATURE, 1))
        self.came_to(outcome, SignedOutcome.STORED if may else SignedOutcome.NO_PLAN)
        model.signatures += may

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=sessions)
    def land(self, session_id: str) -> None:
        """The chain pays what was signed and refunds the rest of its own deposit; told again, it changes nothing."""
        model = self.models[session_id]
        if model.plan is not None and model.signatures:
            self.record(session_id, model.plan.amount, model.account.deposit - model.plan.amount)

    @precondition(lambda self: bool(self.closing()))
    @rule(session_id=sessions, settled=st.integers(0, DEPOSIT), short=st.sampled_from([0, 0, 0, 1]))
    def withdrawn(self, session_id: str, settled: int, short: int) -> None:
        """The payer's exit ends it whatever is in flight, if the numbers are the deposit."""
        self.record(session_id, settled, max(self.models[session_id].account.deposit - settled - short, 0))

    def record(self, session_id: str, settled: int, refunded: int) -> None:
        model = self.models[session_id]
        outcome = self.run(self.ledger.record_settled(session_id, SIGNATURE, settled, refunded, NOW))
        self.came_to(outcome, model.on_record(settled, refunded))
        if outcome is RecordOutcome.RECORDED:
            model.state, model.settled = SessionState.REFUNDED, settled

    @precondition(lambda self: any(model.running or model.plan for model in self.models.values()))
    @rule()
    def restart(self) -> None:
        self.met["restarts"] += 1
        self.run(self.ledger.aclose())
        self.ledger = self.run(self.open_books(Path(self.folder.name), anew=False))
        for model in self.models.values():
            model.running.clear()

    @invariant()
    def agree(self) -> None:
        self.comparisons += 1
        for session_id, model in self.models.items():
            record = self.booked(session_id)
            assert (record.state, record.deposit, record.spent) == (model.state, model.deposit, model.spent)
            assert (record.reserved, record.sequence) == (model.reserved, model.sequence)
            assert record.units_charged == model.units
            if model.state is SessionState.REFUNDED:
                assert record.settled == model.settled
                assert record.refund == model.deposit - model.settled
            else:
                assert record.reserved + record.spent <= record.deposit <= model.account.deposit
            log = self.run(self.ledger.usage(session_id))
            assert [entry.sequence for entry in log] == list(range(1, model.sequence + 1))
            assert sum(entry.amount for entry in log) == record.spent
            assert usage_root(log) == record.usage_root
            digests = [entry.key_digest for entry in log if entry.key_digest is not None]
            assert len(set(digests)) == len(digests), "a key was charged twice"
            self.agree_on_settlement(session_id, model)
        assert set(self.run(self.ledger.closing())) == self.closing()

    def agree_on_settlement(self, session_id: str, model: Model) -> None:
        kept = self.run(self.ledger.settlement(session_id))
        if model.plan is None:
            assert kept is None
            return
        assert kept is not None
        stage = SettlementStage.SIGNED if model.signatures else SettlementStage.PLANNED
        stage = SettlementStage.DONE if model.state is SessionState.REFUNDED else stage
        assert (kept.plan, kept.stage, kept.attempts) == (model.plan, stage, model.signatures)


def sqlite_machine() -> type[LedgerMachine]:
    """The machine on books in a file, a new one for each run."""

    class SqliteMachine(LedgerMachine):
        met: ClassVar[Counter[str]] = Counter()

        async def open_books(self, folder: Path, *, anew: bool) -> Ledger:
            return await SqliteLedger.open(folder / "ledger.db")

    return SqliteMachine


def postgres_machine(url: str) -> type[LedgerMachine]:
    """The machine on a database, emptied for each run; a restart is a process that ends and loses what it held."""

    class PostgresMachine(LedgerMachine):
        met: ClassVar[Counter[str]] = Counter()

        async def open_books(self, folder: Path, *, anew: bool) -> Ledger:
            if anew:
                empty(url)
            return await PostgresLedger.open(url, connections=2)

    return PostgresMachine
