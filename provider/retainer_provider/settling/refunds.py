"""Ending custodial sessions: what is not spent goes back to its sender by a transfer, exactly once.

No program stands behind this: two refunds that both land pay twice. So the signed bytes are on disk before they leave
(F13), the same bytes are sent until they are final, and another transfer is signed only on proof that the first can
never land (`fate`). Not knowing is no proof: then this waits, and says so.
"""

import asyncio
from dataclasses import dataclass, replace

import structlog
from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from retainer.chain.base import Chain, Commitment
from retainer.chain.confirm import ConfirmationOutcome
from retainer.chain.errors import ForeignAccountError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.sessions import token_account
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TRANSACTION_LIFE
from retainer.protocol.instructions import create_ata_idempotent
from retainer.protocol.pda import derive_ata
from retainer.protocol.signing import Signer, signed_transaction
from retainer.protocol.transfers import Transfer
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import PlanOutcome, RecordOutcome, SignedOutcome
from retainer_provider.books.records import SessionRecord, Settlement, SettlementPlan, SettlementStage
from retainer_provider.clock import Clock
from retainer_provider.settling.closing_transaction import CostPolicy, Signed, budget
from retainer_provider.settling.crediting import availability_of
from retainer_provider.settling.fate import refund_fate
from retainer_provider.settling.incoming import Incoming
from retainer_provider.settling.past_refunds import PastRefund, past_refund
from retainer_provider.settling.settlement import plan_refund
from retainer_provider.settling.settler import SettlementOutcome

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Unpayable:
    outcome: SettlementOutcome
    reason: str


class Refunder:
    """``operator`` pays the fee, ``holder`` is the payee's key, in whose token account the deposits lie."""

    def __init__(
        self, *, chain: Chain, ledger: Ledger, operator: Signer, holder: Signer, clock: Clock, costs: CostPolicy
    ) -> None:
        self._chain = chain
        self._ledger = ledger
        self._operator = operator
        self._holder = holder
        self._clock = clock
        self._costs = costs
        self._incoming = Incoming(chain=chain, ledger=ledger, clock=clock)

    async def step(self, record: SessionRecord) -> SettlementOutcome | None:
        """One move of a CLOSING session that this process has claimed; None to look again after a while."""
        settlement = await self._ledger.settlement(record.session_id)
        if settlement is not None and settlement.stage is SettlementStage.SIGNED:
            return await self._follow(record, settlement)
        if not await self._incoming.resolved(record.session_id):
            return None
        record = await self._ledger.session(record.session_id) or record
        plan = plan_refund(record, (await availability_of(self._ledger, record)).credit_units)
        planned = await self._ledger.plan_settlement(record.session_id, plan, self._clock.now())
        if planned is not PlanOutcome.PLANNED:
            return None  # the books moved on: look again
        past = await past_refund(self._chain, record)
        if past is not None:
            return await self._record_past(record, plan, past)
        if plan.refund == 0:
            return await self._record(record, plan, None)
        return await self._sign(record, plan, attempt=0)

    async def _record_past(
        self, record: SessionRecord, plan: SettlementPlan, past: PastRefund
    ) -> SettlementOutcome | None:
        """The books are older than the refund: what went back went back, whatever they would send now."""
        if not past.final:
            return None
        _log.error("books_behind_refund", session=record.session_id, signature=past.signature, refunded=past.amount)
        kept = BaseUnits(max(record.deposit - past.amount, 0))
        return await self._record(record, replace(plan, amount=kept, refund=past.amount), past.signature)

    async def _follow(self, record: SessionRecord, settlement: Settlement) -> SettlementOutcome | None:
        signature, session = settlement.signature or "", Pubkey.from_string(record.session_id)
        fate = await refund_fate(
            self._chain,
            signature,
            settlement.last_valid_block_height,
            session=session,
            deposit_signature=record.creation_signature,
        )
        match fate:
            case ConfirmationOutcome.LANDED:
                return await self._record(record, settlement.plan, signature)
            case ConfirmationOutcome.UNKNOWN:
                await self._send(record, settlement.raw or b"")
                return None
        _log.warning("refund_dead", session=record.session_id, signature=signature, outcome=str(fate))
        return await self._sign(record, settlement.plan, attempt=settlement.attempts)

    async def _sign(self, record: SessionRecord, plan: SettlementPlan, *, attempt: int) -> SettlementOutcome | None:
        signed = await self._signed(record, plan.refund, attempt)
        if isinstance(signed, _Unpayable):
            _log.error("refund_refused", session=record.session_id, reason=signed.reason)
            return signed.outcome
        stored = await self._ledger.store_signed(
            record.session_id, signed.raw, signed.signature, signed.last_valid_block_height
        )
        if stored is SignedOutcome.STORED:
            _log.info("refund_signed", session=record.session_id, signature=signed.signature, amount=plan.refund)
            await self._send(record, signed.raw)
        return None

    async def _signed(self, record: SessionRecord, amount: BaseUnits, attempt: int) -> Signed | _Unpayable:
        """The transfer back, as it just passed simulation; the policy decides whether a missing account is created."""
        if record.payee != self._holder.pubkey():
            return _Unpayable(SettlementOutcome.REFUSED, f"the money lies with {record.payee}, whose key is not here")
        transfer = Transfer(
            session=Pubkey.from_string(record.session_id),
            sender=self._holder.pubkey(),
            recipient=record.payer,
            mint=record.mint,
            decimals=record.decimals,
            token_program=record.token_program,
            amount=amount,
        )
        creation = []
        address = derive_ata(record.payer, record.mint, record.token_program)
        try:
            account = await token_account(self._chain, address)
        except ForeignAccountError as error:
            return _Unpayable(SettlementOutcome.REFUND_BLOCKED, str(error))
        if account is None and not self._costs.pay_for_accounts:
            return _Unpayable(
                SettlementOutcome.REFUND_BLOCKED, f"{record.payer} has closed its token account {address}"
            )
        if account is None:
            creation.append(
                create_ata_idempotent(
                    funder=self._operator.pubkey(),
                    owner=record.payer,
                    mint=record.mint,
                    token_program=record.token_program,
                )
            )
        elif account.owner != record.payer:
            return _Unpayable(SettlementOutcome.REFUND_BLOCKED, f"{address} belongs to {account.owner} by now")
        height = await self._chain.block_height(commitment=Commitment.CONFIRMED)
        latest = await self._chain.latest_blockhash()
        wanted = [*creation, transfer.instruction()]
        simulated = await self._chain.simulate(bytes(await self._transaction(wanted, latest.blockhash)))
        if simulated.error is not None:
            return _Unpayable(SettlementOutcome.REFUSED, f"the refund fails in simulation: {simulated.error}")
        fee = await self._costs.fees.price(self._chain, record.escrow, attempt)
        transaction = await self._transaction([*budget(simulated.units, fee), *wanted], latest.blockhash)
        # The node's own word may only lengthen that: what is thought dead too early is paid twice.
        last_valid = max(latest.last_valid_block_height, height + TRANSACTION_LIFE)
        return Signed(bytes(transaction), str(transaction.signatures[0]), last_valid)

    async def _transaction(self, instructions: list[Instruction], blockhash: Hash) -> Transaction:
        # An external signer takes its time, and the requests need not wait for it.
        return await asyncio.to_thread(signed_transaction, instructions, [self._operator, self._holder], blockhash)

    async def _send(self, record: SessionRecord, raw: bytes) -> None:
        try:
            await self._chain.send(raw)
        except (SendOutcomeUnknownError, TransactionRefusedError) as error:
            # Refused may mean landed long ago: what became of it is what the next look finds out.
            _log.warning("refund_send_unclear", session=record.session_id, reason=str(error))

    async def _record(self, record: SessionRecord, plan: SettlementPlan, signature: str | None) -> SettlementOutcome:
        recorded = await self._ledger.record_settled(
            record.session_id, signature, plan.amount, plan.refund, self._clock.now()
        )
        if recorded is RecordOutcome.MISMATCH:
            _log.error("refund_mismatch", session=record.session_id, refunded=plan.refund, deposit=record.deposit)
            return SettlementOutcome.MISMATCH
        _log.info("session_refunded", session=record.session_id, kept=plan.amount, refunded=plan.refund)
        return SettlementOutcome.SETTLED
