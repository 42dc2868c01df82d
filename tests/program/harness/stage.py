"""A cast with a session: every instruction on it as an honest `Call`, which a test then bends."""

from dataclasses import replace
from typing import Self, TypedDict, Unpack

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol import instructions
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.events import Event, events_from_logs
from retainer.protocol.instructions import OpenParams, OpenWithTermsParams
from retainer.protocol.vouchers import Voucher, sign_voucher
from tests.program.harness.calls import Call
from tests.program.harness.cast import Cast, Mode, Opening
from tests.program.harness.world import Outcome

USAGE_ROOT = bytes(range(32))
SLA_HASH = bytes(range(32, 64))


class Changes(TypedDict, total=False):
    """Arguments of an opening that a test replaces; the last five exist with terms only."""

    payer: Pubkey
    rent_payer: Pubkey
    payee: Pubkey
    mint: Pubkey
    authorized_signer: Pubkey
    salt: int
    deposit: int
    grace_period: int
    open_slot: int
    payer_token: Pubkey
    token_program: Pubkey
    operator: Pubkey
    price_per_unit: int
    expires_at: int
    sla_hash: bytes
    batch: bool


class Stage(Cast):
    """The honest instructions of one run. Amounts are cumulative base units; `changes` replace opening arguments."""

    def opened(self) -> Self:
        """Itself, with the session opened."""
        self.do(self.open())
        return self

    def do(self, call: Call) -> Outcome:
        """Sends a call that must land."""
        return self.world.send(call.instructions, call.signers).require()

    @property
    def expires_at(self) -> int:
        """The expiry that opening now commits (Unix seconds, 0 for never)."""
        return 0 if self.run.lifetime is None else self.world.now + self.run.lifetime

    def open(self, **changes: Unpack[Changes]) -> Call:
        """Opens the session the way the run says."""
        return self.open_with_terms(**changes) if self.run.opening is Opening.TERMS else self.open_stock(**changes)

    def open_stock(self, **changes: Unpack[Changes]) -> Call:
        """Opens the session as a stock client does."""
        params = OpenParams(
            payer=self.payer.pubkey(),
            rent_payer=self.sponsor.pubkey(),
            payee=self.payee.pubkey(),
            mint=self.mint,
            authorized_signer=self.authorized_signer,
            salt=self.run.salt,
            deposit=BaseUnits(self.run.deposit),
            grace_period=self.run.grace,
            open_slot=self.open_slot,
            payer_token=self.payer_token,
            token_program=self.run.token.id,
        )
        # Terms in `changes` raise TypeError here: a stock opening has none.
        opening = instructions.open_session(replace(params, **changes))  # type: ignore[misc]
        return Call("open", opening, (self.payer, self.sponsor))

    def open_with_terms(self, **changes: Unpack[Changes]) -> Call:
        """Opens the session in retainer's own way."""
        params = OpenWithTermsParams(
            payer=self.payer.pubkey(),
            rent_payer=self.sponsor.pubkey(),
            payee=self.payee.pubkey(),
            operator=self.operator.pubkey(),
            mint=self.mint,
            authorized_signer=self.authorized_signer,
            salt=self.run.salt,
            deposit=BaseUnits(self.run.deposit),
            grace_period=self.run.grace,
            open_slot=self.open_slot,
            payer_token=self.payer_token,
            token_program=self.run.token.id,
            price_per_unit=BaseUnits(self.run.price),
            expires_at=self.expires_at,
            sla_hash=SLA_HASH,
            batch=self.run.batch,
        )
        opening = instructions.open_with_terms(replace(params, **changes))
        return Call("open_with_terms", opening, (self.payer, self.sponsor))

    def top_up(self, amount: int = 500_000) -> Call:
        """Adds to the deposit."""
        call = instructions.top_up(
            payer=self.payer.pubkey(),
            session=self.session,
            payer_token=self.payer_token,
            escrow=self.escrow,
            mint=self.mint,
            token_program=self.run.token.id,
            amount=amount,
        )
        return Call("top_up", call, (self.payer,))

    def settle(
        self,
        amount: int = 240_000,
        *,
        units: int | None = None,
        by: Keypair | None = None,
        authorization: Instruction | None = None,
        payee_token: Pubkey | None = None,
    ) -> Call:
        """Pays out up to `amount`: submitted by the operator, authorized as the run's mode needs unless told how."""
        submitter = by or self.operator
        call = instructions.settle(
            submitter=submitter.pubkey(),
            session=self.session,
            account=self.account,
            payee_token=payee_token or self.payee_token,
            token_program=self.run.token.id,
            amount=amount,
            charged_units=self.units(amount) if units is None else units,
        )
        return Call("settle", call, (submitter,), before=self._authorized(amount, authorization))

    def close(
        self,
        amount: int = 240_000,
        *,
        units: int | None = None,
        by: Keypair | None = None,
        authorization: Instruction | None = None,
        payee_token: Pubkey | None = None,
        payer_token: Pubkey | None = None,
    ) -> Call:
        """Settles up to `amount`, refunds the rest and closes."""
        submitter = by or self.operator
        call = instructions.close(
            submitter=submitter.pubkey(),
            session=self.session,
            account=self.account,
            payee_token=payee_token or self.payee_token,
            payer_token=payer_token or self.payer_token,
            token_program=self.run.token.id,
            amount=amount,
            charged_units=self.units(amount) if units is None else units,
            usage_root=USAGE_ROOT,
            batch=self.run.batch,
        )
        return Call("close", call, (submitter,), before=self._authorized(amount, authorization))

    def request_close(self) -> Call:
        """Starts the grace period."""
        call = instructions.request_close(payer=self.payer.pubkey(), session=self.session)
        return Call("request_close", call, (self.payer,))

    def withdraw(self, *, payer_token: Pubkey | None = None) -> Call:
        """Refunds the payer from the deadline on; needs nobody's signature but the fee payer's."""
        call = instructions.withdraw(
            session=self.session,
            account=self.account,
            payer_token=payer_token or self.payer_token,
            token_program=self.run.token.id,
        )
        return Call("withdraw", call, ())

    def events(self, outcome: Outcome) -> list[Event]:
        """What our program logged in this transaction."""
        return events_from_logs(outcome.logs)

    def voucher(
        self,
        cumulative: int,
        *,
        expires_at: int = 0,
        session: Pubkey | None = None,
        key: Keypair | None = None,
    ) -> Instruction:
        """The precompile instruction that carries a voucher."""
        voucher = Voucher(channel_id=session or self.session, cumulative=BaseUnits(cumulative), expires_at=expires_at)
        return instructions.ed25519_voucher(sign_voucher(voucher, key or self.voucher_key))

    def units(self, amount: int) -> int:
        """The units that make up `amount` under the committed price; under none, any number that does not fall."""
        price = self.account.price_per_unit
        return amount // price if price else max(self.account.charged_units, amount // 1_000)

    def _authorized(self, amount: int, authorization: Instruction | None) -> tuple[Instruction, ...]:
        if authorization is not None:
            return (authorization,)
        if self.run.mode is Mode.VOUCHER and amount > self.account.settled:
            return (self.voucher(amount),)
        return ()
