"""Sessions driven by hypothesis, which shortens a sequence that breaks something; the oracle judges each step.

After every step: chain and oracle agree to the byte, tokens in = settled + refunded + still escrowed, and from the
session just touched both sides reach what is their own.
"""

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from solders.pubkey import Pubkey

from retainer.protocol.constants import OPEN_SLOT_WINDOW
from retainer.protocol.instruction_data import OpenData, OpenWithTermsData
from retainer.protocol.session import SessionAccount
from tests.program.fuzzing import honest
from tests.program.fuzzing.drafts import Draft, VoucherDraft
from tests.program.fuzzing.duel import Duel
from tests.program.fuzzing.exits import check_exits
from tests.program.fuzzing.honest import Claim, Parties
from tests.program.fuzzing.surroundings import send_tokens

which = st.integers(0, 5)
amounts = st.one_of(st.integers(0, 3), st.integers(1, 10**7), st.just(2**64 - 1))
submitters = st.sampled_from(["operator", "payee", "payer", "rent_payer"])
prices = st.sampled_from([None, 0, 1, 8_000])
some_session = precondition(lambda machine: machine.opened)


class Sessions(RuleBasedStateMachine):
    """Opens sessions of every kind and lets everybody do to them what they like, honest or not."""

    def __init__(self) -> None:
        super().__init__()
        self.duel = Duel()
        self.arena = self.duel.arena
        self.opened: dict[Pubkey, SessionAccount] = {}
        self.touched: Pubkey | None = None

    @rule(mint=st.integers(0, 3), metered=st.booleans(), price=prices, units=st.integers(0, 1_000), salt=which)
    def open_session(self, *, mint: int, metered: bool, price: int | None, units: int, salt: int) -> None:
        """Price None means a stock opening; the salt also decides expiry and sponsor."""
        cast, state = self.arena.cast, self.arena.state
        operator = cast.payees[0] if price is None else cast.operators[0]
        parties = Parties(
            payer=cast.payers[0],
            payee=cast.payees[0],
            operator=operator,
            signer=operator if metered else next(iter(cast.signers)),
            sponsor=cast.sponsors[0] if salt % 2 else cast.payers[0],
            mint=list(self.arena.mints)[mint],
        )
        args: OpenData | OpenWithTermsData = OpenData(salt, units, 900, state.slot)
        if price is not None:
            expiry, deposit = state.now + 1_000 * (salt // 2) if salt > 1 else 0, units * max(price, 1)
            args = OpenWithTermsData(salt, deposit, 900, state.slot, price, expiry, bytes(32), batch=metered)
        wallet = self.arena.wallets[parties.payer, parties.mint][0]
        draft = honest.opening(self.arena, parties, args, wallet)
        if self.duel.send([draft]):
            session = draft.accounts[draft.slots.index("session")]
            self._remember(session)

    @some_session
    @rule(which=which, amount=amounts)
    def top_up(self, *, which: int, amount: int) -> None:
        address, session = self._pick(which)
        self._send(address, honest.top_up(self.arena, address, session, amount, self._wallet(session.payer, session)))

    @some_session
    @rule(which=which, units=st.integers(0, 1_100), signed=st.integers(-1, 1), by=submitters, closing=st.booleans())
    def claim(self, *, which: int, units: int, signed: int, by: str, closing: bool) -> None:
        """Settles or closes at so many units, under a voucher that is a unit short, exact, or a unit generous."""
        address, session = self._pick(which)
        price = session.price_per_unit or 1
        voucher, signer = None, session.authorized_signer
        if signer in self.arena.cast.signers:
            ceiling = max(0, (units + signed) * price)
            voucher = VoucherDraft(signer, self.arena.cast.signers[signer], address, ceiling)
        claim = Claim(amount=units * price, units=units, by=getattr(session, by), voucher=voucher)
        to_payee, to_payer = self._wallet(session.payee, session), self._wallet(session.payer, session)
        if closing:
            draft = honest.close(self.arena, address, session, claim, (to_payee, to_payer), batch=units % 2 == 0)
        else:
            draft = honest.settle(self.arena, address, session, claim, to_payee)
        self._send(address, draft)

    @some_session
    @rule(which=which)
    def request_close(self, *, which: int) -> None:
        address, session = self._pick(which)
        self._send(address, honest.request_close(address, session))

    @some_session
    @rule(which=which)
    def withdraw(self, *, which: int) -> None:
        address, session = self._pick(which)
        self._send(address, honest.withdraw(self.arena, address, session, self._wallet(session.payer, session)))

    @rule(seconds=st.sampled_from([1, 100, 899, 900, 901, 2_000]), slots=st.sampled_from([0, 1, OPEN_SLOT_WINDOW + 1]))
    def pass_time(self, *, seconds: int, slots: int) -> None:
        self.arena.jump(now=self.arena.state.now + seconds, slot=self.arena.state.slot + slots)

    @some_session
    @rule(seed=which)
    def strangers_send_tokens(self, *, seed: int) -> None:
        send_tokens(self.duel, random.Random(seed))

    @invariant()
    def both_exits_are_open(self) -> None:
        if self.touched is not None and self.arena.state.sessions.get(self.touched) is not None:
            check_exits(self.duel, self.touched)

    def _pick(self, which: int) -> tuple[Pubkey, SessionAccount]:
        address = list(self.opened)[which % len(self.opened)]
        return address, self.opened[address]

    def _send(self, address: Pubkey, draft: Draft) -> None:
        self.duel.send([draft])
        self._remember(address)

    def _remember(self, address: Pubkey) -> None:
        self.touched = address
        account = self.arena.state.sessions.get(address)
        if account is not None:
            self.opened[address] = account

    def _wallet(self, owner: Pubkey, session: SessionAccount) -> Pubkey:
        return self.arena.wallets[owner, session.mint][0]


@pytest.mark.property
def test_no_sequence_parts_chain_and_oracle_or_closes_an_exit() -> None:
    quick = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(Sessions, settings=quick)
