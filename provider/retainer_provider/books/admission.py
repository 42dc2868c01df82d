"""Whether a request may take money at all, by what the books say of its session. Pure; the store guards the write."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from retainer.protocol.session import SessionState
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import CommitOutcome, CommitResult, ReserveOutcome
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
    if found is None and session.free_answers and _has_had_all_free(session):
        return ReserveOutcome.FREE_EXHAUSTED
    return found


def uncharged(session: SessionRecord | None, charge: Charge) -> CommitResult:
    """What it means that the write took no charge.

    Either as many free answers were given as there are, some to requests that ran at the same time; or the session was
    settled meanwhile, by a withdrawal on chain.
    """
    if session is not None and not charge.charged and _has_had_all_free(session):
        return CommitResult(CommitOutcome.FREE_EXHAUSTED, session)
    return CommitResult(CommitOutcome.LOST)


def _has_had_all_free(session: SessionRecord) -> bool:
    return session.max_free_answers is not None and session.free_answers >= session.max_free_answers


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
