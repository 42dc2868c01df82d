"""The ledger's sessions as clients see them, and the receipts the operator signs about them. Pure."""

from functools import lru_cache
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits, requests_left
from retainer.protocol.receipts import MeteredDetails, Receipt, ReceiptExtension, signed_header
from retainer.protocol.session import SessionState, VoucherSigner
from retainer.protocol.signing import Signer
from retainer.protocol.timestamps import format_timestamp
from retainer.protocol.tokens import token_symbol
from retainer.protocol.usage import UsageEntry
from retainer.protocol.views import SessionView, TokenView
from retainer_provider.books.records import Custody, SessionRecord
from retainer_provider.books.terms import session_terms

# Receipts of one second say the same time, those of one session the same address.
_timestamp: Final = lru_cache(maxsize=64)(format_timestamp)
_address: Final = lru_cache(maxsize=4096)(Pubkey.from_string)


def session_view(record: SessionRecord, now: int, credited: BaseUnits | None = None) -> SessionView:
    """A session at `now` (unix seconds). Once it is closed, nothing remains: `refund` says what went back."""
    closed = record.refund is not None
    remaining = BaseUnits(0) if closed else record.remaining
    return SessionView(
        session_id=record.session_id,
        offer_id=record.offer_id,
        agent=record.payer,
        provider=record.payee,
        operator=record.operator,
        token=TokenView(record.mint, token_symbol(record.mint), record.decimals),
        deposit=record.deposit,
        remaining=remaining,
        spent=record.spent,
        price_per_request=record.price,
        requests_made=record.sequence,
        requests_left=requests_left(remaining, record.price),
        started_at=record.opened_at or record.created_at,
        expires_at=record.expires_at or None,
        sla=session_terms(record),
        state=record.state_at(now),
        creation_signature=record.creation_signature,
        pda=_address(record.session_id),
        settled=record.settled,
        refund=record.refund,
        credited=credited,
        anchor_on_chain=record.custody is Custody.ESCROW,
        settlement_signature=record.settlement_signature,
    )


def session_receipt(record: SessionRecord, operator: Signer, now: int, credited: BaseUnits | None = None) -> str:
    """The `Payment-Receipt` value of a lifecycle call: a session opened, or settled by the chain."""
    return _signed(record, operator, now, credited=credited)


def request_receipt(record: SessionRecord, entry: UsageEntry, usage_hash: bytes, operator: Signer, now: int) -> str:
    """The `Payment-Receipt` value of a metered request; `record` is the session after its charge."""
    metered = MeteredDetails(
        sequence=entry.sequence,
        amount=entry.amount,
        units=entry.units,
        charged=entry.charged,
        term=entry.term,
        status=entry.status,
        latency_ms=entry.latency_ms,
        request_digest=entry.request_digest,
        response_digest=entry.response_digest,
        usage_hash=usage_hash.hex(),
    )
    return _signed(record, operator, now, metered)


def _signed(
    record: SessionRecord,
    operator: Signer,
    now: int,
    metered: MeteredDetails | None = None,
    credited: BaseUnits | None = None,
) -> str:
    closed = record.state is SessionState.REFUNDED
    # The draft: a close receipt's `spent` is what was settled.
    spent = record.spent if record.settled is None else record.settled
    receipt = Receipt(
        reference=_address(record.session_id),
        timestamp=_timestamp(now),
        challenge_id=record.challenge_id,
        # In metered mode the operator accepts just what it charges.
        accepted_cumulative=record.accepted if record.voucher_signer is VoucherSigner.CLIENT else spent,
        spent=spent,
        idle_timeout_seconds=record.idle_timeout,
        tx_hash=record.settlement_signature,
        refunded=record.refund,
        retainer=ReceiptExtension(
            state=record.state_at(now),
            remaining=BaseUnits(0) if closed else record.remaining,
            operator=operator.pubkey(),
            metered=metered,
            credited=credited,
        ),
    )
    return signed_header(receipt, operator)
