"""Why a request was not reserved or booked, as its client is told."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import VoucherSigner
from retainer_provider.books.meter import Quote
from retainer_provider.books.outcomes import ReserveOutcome
from retainer_provider.books.records import SessionRecord
from retainer_provider.sessions.refusals import RefusedError, refuse


def refusal_of(outcome: ReserveOutcome, record: SessionRecord, cost: Quote) -> RefusedError:
    """The refusal of a request for which ``cost`` would have had to be reserved."""
    problem, sentence, retry_after = _REFUSALS[outcome]
    left = record.remaining - record.reserved
    paid = format_amount(record.accepted, record.decimals)
    needed = format_amount(record.spent + record.reserved + cost.amount, record.decimals)
    detail = sentence.format(
        session=record.session_id,
        accepted=paid,
        needed=needed,
        deposit=format_amount(record.deposit, record.decimals),
        left=format_amount(max(left, 0), record.decimals),
        most="" if cost.units == 1 else "up to ",
        price=format_amount(cost.amount, record.decimals),
    )
    return refuse(problem, detail, retry_after=retry_after, extra=_facts(record))


def _facts(record: SessionRecord) -> dict[str, Json]:
    """What a client needs to put itself right, in base units."""
    accepted = {} if record.voucher_signer is VoucherSigner.OPERATOR else {"acceptedCumulative": str(record.accepted)}
    return {"sessionId": record.session_id, "spent": str(record.spent), "deposit": str(record.deposit), **accepted}


_REFUSALS: Final[Mapping[ReserveOutcome, tuple[ProblemType, str, int | None]]] = MappingProxyType(
    {
        ReserveOutcome.IN_FLIGHT: (
            ProblemType.REQUEST_IN_FLIGHT,
            "The first request with this Idempotency-Key is still running: send the same one again in a second.",
            1,
        ),
        ReserveOutcome.CONFLICT: (
            ProblemType.IDEMPOTENCY_CONFLICT,
            "This Idempotency-Key or voucher belongs to another request of this session: use a new one for another.",
            None,
        ),
        ReserveOutcome.DEPLETED: (
            ProblemType.SESSION_DEPLETED,
            "Session {session} has {left} left and this request costs {most}{price}: top it up, or open another.",
            None,
        ),
        ReserveOutcome.VOUCHER_LOW: (
            ProblemType.VERIFICATION_FAILED,
            "The voucher does not pay for this: {accepted} were accepted before, {needed} are needed: sign for more.",
            None,
        ),
        ReserveOutcome.VOUCHER_HIGH: (
            ProblemType.VERIFICATION_FAILED,
            "The voucher exceeds the deposit of {deposit}: sign a lower one, or top the session up first.",
            None,
        ),
        ReserveOutcome.EXPIRED: (
            ProblemType.SESSION_EXPIRED,
            "Session {session} has expired: close it to get back the {left} that is left, and open another.",
            None,
        ),
        ReserveOutcome.CLOSING: (
            ProblemType.SESSION_CLOSING,
            "Session {session} is being closed and takes no more requests: open another.",
            None,
        ),
        ReserveOutcome.CLOSED: (ProblemType.SESSION_CLOSED, "Session {session} is closed: open another.", None),
        ReserveOutcome.PENDING: (
            ProblemType.DEPOSIT_UNCONFIRMED,
            "The deposit of session {session} is not confirmed yet: send the credential that opened it again.",
            2,
        ),
        ReserveOutcome.UNKNOWN: (
            ProblemType.SESSION_UNKNOWN,
            "This service knows no session {session}: open one with the fresh challenge.",
            None,
        ),
        ReserveOutcome.FREE_EXHAUSTED: (
            ProblemType.FREE_ANSWERS_EXHAUSTED,
            "Session {session} has had as many free answers as its offer gives: close it and open another later.",
            None,
        ),
    }
)
