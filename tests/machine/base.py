"""The machine's frame: books beside their models, compared after every step."""

import asyncio
import tempfile
from abc import abstractmethod
from collections import Counter
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from retainer.protocol.session import SessionState
from retainer.protocol.usage import usage_root
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import Custody, SessionRecord, SettlementStage
from tests.books import account_of, new_session, open_session
from tests.machine.model import Model, TransferModel

T = TypeVar("T")

DEPOSIT = 100
PRICE = 7
OPEN_AT_ONCE = 2
SERVED_BEFORE_CLOSE = 2
CAPS = st.sampled_from([None, 2])
PRICES = st.sampled_from([0, PRICE])
SESSIONS = Bundle[str]("sessions")
ESCROWED = Bundle[str]("escrowed")
CUSTODIAL = Bundle[str]("custodial")
LIVING = (SessionState.PENDING, SessionState.ACTIVE)


class Machine(RuleBasedStateMachine):
    """Sessions of an escrow to begin with. ``met`` counts steps and what they came to, over all runs of a class."""

    met: ClassVar[Counter[str]]
    shared: ClassVar[bool]  # whether several processes may have the books open

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.models: dict[str, Model] = {}
        self.transfers: dict[str, TransferModel] = {}
        self.comparisons = 0
        self.stalled: Ledger | None = None
        self.ledger = self.run(self.open_books(anew=True))

    @abstractmethod
    async def open_books(self, *, anew: bool) -> Ledger:
        """Open the store in ``folder``: ``anew`` without any session, else with what was written."""

    @abstractmethod
    async def die(self) -> None:
        """The process ends in the middle of whatever it does; what it had not made durable may be lost."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def came_to(self, outcome: StrEnum, expected: StrEnum) -> None:
        self.met[f"{type(outcome).__name__}.{outcome}"] += 1
        assert outcome is expected, f"the ledger says {outcome!r}, the model {expected!r}"

    def teardown(self) -> None:
        self.met["steps"] += max(self.comparisons - 1, 0)  # the first is before any step
        if self.stalled is not None:
            self.run(self.stalled.aclose())
        self.run(self.ledger.aclose())
        self.loop.close()
        self.temporary.cleanup()

    @staticmethod
    def served(model: Model) -> bool:
        return model.state is SessionState.ACTIVE and model.sequence >= SERVED_BEFORE_CLOSE

    def closing(self) -> set[str]:
        return {session_id for session_id, model in self.models.items() if model.state is SessionState.CLOSING}

    def has_room(self) -> bool:
        return sum(model.state in LIVING for model in self.models.values()) < OPEN_AT_ONCE

    def awaits(self, session_id: str) -> bool:
        """Whether a custodial transfer of the session may still land."""
        return any(one.session_id == session_id and one.stage == "expected" for one in self.transfers.values())

    def booked(self, session_id: str) -> SessionRecord:
        record = self.run(self.ledger.session(session_id))
        assert record is not None
        return record

    # Few sessions at a time, so that what happens to one has a history.
    @initialize(targets=(SESSIONS, ESCROWED), cap=CAPS, price=PRICES)
    def open_first(self, cap: int | None, price: int) -> str:
        return self.open_session(cap, price)

    @precondition(has_room)
    @rule(targets=(SESSIONS, ESCROWED), cap=CAPS, price=PRICES)
    def open_another(self, cap: int | None, price: int) -> str:
        return self.open_session(cap, price)

    def open_session(self, cap: int | None, price: int) -> str:
        number = len(self.models)
        account = account_of(new_session(number, deposit=DEPOSIT, price=price))
        session_id = self.run(open_session(self.ledger, number, deposit=DEPOSIT, price=price, max_free_answers=cap))
        self.models[session_id] = Model(account, cap, DEPOSIT)
        return session_id

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
                assert record.reserved + record.spent <= record.deposit
                assert model.custody is Custody.PROVIDER or record.deposit <= model.account.deposit
            log = self.run(self.ledger.usage(session_id))
            assert [entry.sequence for entry in log] == list(range(model.forgotten + 1, model.sequence + 1))
            if not model.forgotten:
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
