"""Paying the payee and leaving the session open: where the refund is blocked, or too much would be at risk.

The amount is cumulative, so nothing need be remembered: sent twice, it pays once.
"""

from typing import Final

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.confirm import ConfirmationOutcome, Timer, confirm
from retainer.chain.errors import SendOutcomeUnknownError, TransactionRefusedError
from retainer.protocol.session import SessionAccount
from retainer_provider.books.records import SessionRecord, SettlementPlan
from retainer_provider.settling.closing_transaction import CloseBuilder, CloseRefused

_log = structlog.get_logger(__name__)

_PAY_SECONDS: Final = 90.0


class Payout:
    """Sends `settle` and waits until it is confirmed, dead, or too long under way."""

    def __init__(self, *, chain: Chain, builder: CloseBuilder, timer: Timer) -> None:
        self._chain = chain
        self._builder = builder
        self._timer = timer

    async def pay(
        self, record: SessionRecord, account: SessionAccount, plan: SettlementPlan, *, attempt: int
    ) -> ConfirmationOutcome | CloseRefused:
        """Pay out ``plan.amount`` in all; ``attempt`` counts from 0 and raises the fee."""
        address = Pubkey.from_string(record.session_id)
        signed = await self._builder.settle(
            address, account, record.token_program, plan, attempt, voucher=record.voucher
        )
        if isinstance(signed, CloseRefused):
            _log.error("settlement_refused", session=record.session_id, reason=signed.reason)
            return signed
        try:
            await self._chain.send(signed.raw)
        except (SendOutcomeUnknownError, TransactionRefusedError) as error:
            _log.warning("settlement_send_failed", session=record.session_id, reason=str(error))
        paid = await confirm(
            self._chain,
            signed.signature,
            last_valid_block_height=signed.last_valid_block_height,
            clock=self._timer,
            timeout=_PAY_SECONDS,
        )
        _log.info("payee_paid_without_refund", session=record.session_id, outcome=str(paid), amount=plan.amount)
        return paid
