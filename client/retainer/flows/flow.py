"""How one request gets paid, as a pure state machine: (state, reply) -> (state, what to do next).

    sent free ──402──▶ PAY ──▶ sent paid ──2xx──▶ DELIVER
                                  │ 402, the session is over ──▶ REPLACE ──▶ sent paid
                                  │ 402, another offer's route ──▶ PAY ──▶ sent paid
                                  │ 409, the first try still runs ──▶ WAIT ──▶ sent paid
                                  │ 402, its voucher came too late ──▶ OUTBID ──▶ sent paid
                                  │ 402, it may cost more units ──▶ RAISE ──▶ sent paid
                                  │ 402, the deposit is spent ──▶ FUND ──▶ sent paid
                                  └ anything else ──▶ DELIVER, and the caller sees the refusal

Every arrow back costs one of a fixed number of tries, so a service that answers 402 for ever is asked only so often.
"""

from dataclasses import dataclass, replace
from enum import Enum
from http import HTTPStatus
from typing import Final

from retainer.protocol.problems import ProblemType

_PAID_TRIES: Final = 3
_WAITS: Final = 5
# Requests at once sign ever higher vouchers, which may overtake each other on their way; soon all send the highest.
_OUTBIDS: Final = 10
# After these the session can never pay again. A depleted one is not among them: it is topped up where the caller's
# policy says so, and whether to fund another one is the caller's decision, not a detail of a retry.
_OVER: Final = frozenset(
    {
        ProblemType.SESSION_UNKNOWN,
        ProblemType.SESSION_EXPIRED,
        ProblemType.SESSION_CLOSING,
        ProblemType.SESSION_CLOSED,
    }
)


class Next(Enum):
    """What to do after a reply."""

    DELIVER = "hand the answer to the caller"
    PAY = "take or open the session that fits the challenge, and send again"
    REPLACE = "forget the session, open another one, and send again"
    WAIT = "send the same again after a pause"
    OUTBID = "send the same again with the newest voucher"
    RAISE = "send the same again, for as many units as the challenge says"
    FUND = "top the session up where its books agree that it is spent, and send the same again"


@dataclass(frozen=True, slots=True)
class Reply:
    """What of an answer matters here.

    ``challenged``   it carries a session challenge, and comes from the host that was asked: money shown to another
                     host than the caller named is lost (F29).
    ``same_scope``   the challenge is for what the session at hand pays.
    ``outbid``       the voucher was refused, and a later one has been signed meanwhile.
    ``overdrawn``    the service says that it holds a higher voucher than was ever signed here.
    """

    status: int
    problem: ProblemType | None = None
    challenged: bool = False
    same_scope: bool = True
    outbid: bool = False
    overdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its way.

    ``pinned``: the caller named the session, so no other one may pay. ``may_fund``: a policy says how to top it up.
    """

    paid: bool = False
    pinned: bool = False
    tries_left: int = _PAID_TRIES
    waits_left: int = _WAITS
    outbids_left: int = _OUTBIDS
    may_replace: bool = True
    may_fund: bool = False


def decide(exchange: Exchange, reply: Reply) -> tuple[Exchange, Next]:
    """The next step after ``reply``; terminates after at most ``_PAID_TRIES`` + ``_WAITS`` + ``_OUTBIDS`` steps."""
    if reply.status == HTTPStatus.CONFLICT and reply.problem is ProblemType.REQUEST_IN_FLIGHT and exchange.waits_left:
        return replace(exchange, waits_left=exchange.waits_left - 1), Next.WAIT
    if reply.status == HTTPStatus.PAYMENT_REQUIRED and reply.outbid and exchange.outbids_left:
        return replace(exchange, outbids_left=exchange.outbids_left - 1), Next.OUTBID
    if reply.status != HTTPStatus.PAYMENT_REQUIRED or not reply.challenged or not exchange.tries_left:
        return exchange, Next.DELIVER
    again = replace(exchange, paid=True, tries_left=exchange.tries_left - 1)
    if not exchange.paid or not (reply.same_scope or exchange.pinned):
        return again, Next.PAY
    return _paid_in_vain(exchange, again, reply)


def _paid_in_vain(exchange: Exchange, again: Exchange, reply: Reply) -> tuple[Exchange, Next]:
    if reply.problem is ProblemType.UNITS_NEEDED and reply.same_scope:
        return again, Next.RAISE
    if reply.problem is ProblemType.SESSION_DEPLETED and exchange.may_fund:
        return replace(again, may_fund=False), Next.FUND
    over = reply.problem in _OVER or reply.overdrawn
    if over and not exchange.pinned and exchange.may_replace:
        return replace(again, may_replace=False), Next.REPLACE
    return exchange, Next.DELIVER
