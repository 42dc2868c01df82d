"""Deposits: of an escrow as its account states them, and custodial ones, transfer by transfer."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer_provider.books.outcomes import (
    AbandonOutcome,
    AdmitOutcome,
    CreditOutcome,
    DepositOutcome,
    ExpectOutcome,
)
from retainer_provider.books.records import Custody, ExpectedTransfer
from tests.books import NOW, account_of, new_session
from tests.machine.base import CAPS, CUSTODIAL, DEPOSIT, ESCROWED, LIVING, PRICES, SESSIONS, Machine
from tests.machine.model import Model, TransferModel

TRANSFERS = st.sampled_from([f"transfer-{number}" for number in range(6)])


class Deposits(Machine):
    """What comes in."""

    @rule(session_id=ESCROWED, more=st.integers(1, DEPOSIT), heard=st.booleans())
    def pay_in(self, session_id: str, more: int, heard: bool) -> None:  # noqa: FBT001
        """On chain; the books hear of it at once, later, or never."""
        model = self.models[session_id]
        if model.state is not SessionState.REFUNDED:
            model.account = replace(model.account, deposit=BaseUnits(model.account.deposit + more))
        if heard:
            self.hear_of_deposit(session_id, 0)

    @rule(session_id=ESCROWED, behind=st.sampled_from([0, 0, 1, DEPOSIT]))
    def hear_of_deposit(self, session_id: str, behind: int) -> None:
        """What the account says now, or what it said long ago."""
        model = self.models[session_id]
        deposit = max(model.account.deposit - behind, 0)
        outcome = self.run(self.ledger.update_deposit(session_id, deposit, NOW))
        self.came_to(outcome, model.on_deposit(deposit))
        if outcome is DepositOutcome.APPLIED:
            model.deposit = deposit

    @precondition(Machine.has_room)
    @rule(
        targets=(SESSIONS, CUSTODIAL),
        cap=CAPS,
        price=PRICES,
        transfer=TRANSFERS,
        lands=st.sampled_from([True, True, False]),
    )
    def open_custodial(self, cap: int | None, price: int, transfer: str, lands: bool) -> str:  # noqa: FBT001
        number = len(self.models)
        new = new_session(number, deposit=DEPOSIT, price=price, max_free_answers=cap, custody=Custody.PROVIDER)
        assert self.run(self.ledger.admit(new)).outcome is AdmitOutcome.ADMITTED
        self.models[new.session_id] = Model(
            account_of(new), cap, DEPOSIT, custody=Custody.PROVIDER, state=SessionState.PENDING
        )
        self.expect(new.session_id, transfer, DEPOSIT)
        if lands:
            self.credit(new.session_id, transfer, own=True)
        return new.session_id

    @precondition(lambda self: bool(self.transfers))
    @rule(session_id=SESSIONS, transfer=TRANSFERS, amount=st.integers(1, DEPOSIT))
    def expect(self, session_id: str, transfer: str, amount: int) -> None:
        """A signature that may have served before; of an escrow's session, none is expected."""
        model, known = self.models[session_id], self.transfers.get(transfer)
        may = model.custody is Custody.PROVIDER and model.state in LIVING
        fresh = ExpectOutcome.EXPECTED if may else ExpectOutcome.NOT_OPEN
        outcome = self.run(self.ledger.expect_transfer(session_id, ExpectedTransfer(transfer, amount, 1000)))
        self.came_to(outcome, fresh if known is None else known.on_expect(session_id))
        if outcome is ExpectOutcome.EXPECTED:
            self.transfers[transfer] = TransferModel(session_id, amount)

    @precondition(lambda self: bool(self.transfers))
    @rule(session_id=CUSTODIAL, transfer=TRANSFERS, own=st.sampled_from([True, True, False]))
    def credit(self, session_id: str, transfer: str, own: bool) -> None:  # noqa: FBT001
        """Final on chain, for the session it names or, by a lie, for another; told once or more often."""
        known = self.transfers.get(transfer)
        if known is not None and own:
            session_id = known.session_id
        model = self.models[session_id]
        expected = CreditOutcome.REFUSED if known is None else known.on_credit(session_id, model)
        self.came_to(self.run(self.ledger.credit_transfer(session_id, transfer, NOW)), expected)
        if expected is CreditOutcome.CREDITED and known is not None:
            known.stage = "credited"
            pending = model.state is SessionState.PENDING
            model.deposit = known.amount if pending else model.deposit + known.amount
            model.state = SessionState.ACTIVE if pending else model.state

    @precondition(lambda self: bool(self.transfers))
    @rule(transfer=TRANSFERS)
    def drop(self, transfer: str) -> None:
        """It can never land."""
        known = self.transfers.get(transfer)
        self.run(self.ledger.drop_transfer(transfer))
        if known is not None and known.stage == "expected":
            known.stage = "dead"

    @rule(session_id=CUSTODIAL)
    def abandon(self, session_id: str) -> None:
        """Never around a transfer that may still land."""
        model = self.models[session_id]
        may = model.state is SessionState.PENDING and not self.awaits(session_id)
        outcome = self.run(self.ledger.abandon(session_id, "it never came", NOW))
        self.came_to(outcome, AbandonOutcome.ABANDONED if may else AbandonOutcome.NOT_PENDING)
        if may:
            model.state = SessionState.ABANDONED
