"""Whether a request may take money at all, by what the books say of its session. Pure; the store guards the write."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from retainer.protocol.session import SessionState
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.outcomes import ReserveOutcome
from retainer_provider.books.records import SessionRecord

_BARRED: Final[Mapping[SessionState, ReserveOutcome]] = MappingProxyType(
    {
        SessionState.PENDING: ReserveOutcome.PENDING,
        SessionState.EXPIRED: ReserveOutcome.EXPIRED,
        SessionState.CLOSING: ReserveOutcome.CLOSING,
        SessionState.REFUNDED: ReserveOutcome.CLOSED,
        SessionState.ABANDONED: ReserveOutcome.CLOSED,
    }
)


def barred(session: SessionRecord, now: int) -> ReserveOutcome | None:
    """What bars any request of the session, or None."""
    found = _BARRED.get(session.state_at(now))
    if found is None and session.max_free_answers is not None and session.free_answers >= session.max_free_answers:
        return ReserveOutcome.FREE_EXHAUSTED
    return found


def voucher_refusal(session: SessionRecord, signed: SignedVoucher, amount: int) -> ReserveOutcome | None:
    """Why a voucher does not pay for ``amount``, or None.

    The one that is kept already may come again, for what it still authorizes: its request may have been lost.
    """
    cumulative = signed.voucher.cumulative
    if session.remaining < amount:
        return ReserveOutcome.DEPLETED
    if cumulative > session.deposit:
        return ReserveOutcome.VOUCHER_HIGH
    if signed == session.voucher and cumulative - session.spent < amount:
        return ReserveOutcome.VOUCHER_LOW
    return None
