"""What each ledger call can end in. Expected alternatives are enums; callers handle every one."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from retainer_provider.books.records import Reservation, SessionRecord, StoredAnswer


class AdmitOutcome(StrEnum):
    """Of writing down a session to be opened."""

    ADMITTED = "admitted"
    KNOWN_SAME = "known_same"  # the same opening told again: idempotent
    KNOWN_OTHER = "known_other"  # the id belongs to another opening, for ever (F01)


@dataclass(frozen=True, slots=True)
class AdmitResult:
    """With the session as the books have it."""

    outcome: AdmitOutcome
    session: SessionRecord


class AdoptOutcome(StrEnum):
    """Of entering a session that the books had lost."""

    ADOPTED = "adopted"
    KNOWN = "known"  # nothing written: what the books say of it stands


class ActivateOutcome(StrEnum):
    """Of a deposit that was confirmed."""

    ACTIVATED = "activated"
    ALREADY_ACTIVE = "already_active"
    NOT_PENDING = "not_pending"  # abandoned, closing, refunded or unknown


class AbandonOutcome(StrEnum):
    """Of giving up on a deposit."""

    ABANDONED = "abandoned"
    NOT_PENDING = "not_pending"


class ExpectOutcome(StrEnum):
    """Of writing down a transfer that is about to be sent, or was found on chain."""

    EXPECTED = "expected"
    KNOWN = "known"  # this session's own, told again
    REPLAYED = "replayed"  # another session's, for ever (F01)
    DEAD = "dead"  # this session's own, which never landed
    NOT_OPEN = "not_open"


class CreditOutcome(StrEnum):
    """Of a transfer that is final on chain."""

    CREDITED = "credited"
    ALREADY = "already"
    REFUSED = "refused"  # not expected by this session, or the session is over


class ReserveOutcome(StrEnum):
    """Of asking for a request's money."""

    RESERVED = "reserved"
    REPLAY = "replay"  # same key, same request: ``answer`` is the stored one
    IN_FLIGHT = "in_flight"  # same key, same request, still running
    CONFLICT = "conflict"  # same key, another request
    DEPLETED = "depleted"
    EXPIRED = "expired"
    CLOSING = "closing"
    CLOSED = "closed"  # refunded or abandoned
    PENDING = "pending"
    UNKNOWN = "unknown"
    FREE_EXHAUSTED = "free_exhausted"
    VOUCHER_LOW = "voucher_low"  # not above what was accepted, or not enough for this request
    VOUCHER_HIGH = "voucher_high"  # above the deposit: no chain would pay it


class ReserveResult(msgspec.Struct, frozen=True, gc=False):
    """``reservation`` with RESERVED only, ``answer`` with REPLAY only, ``session`` with all but UNKNOWN."""

    outcome: ReserveOutcome
    reservation: Reservation | None = None
    answer: StoredAnswer | None = None
    session: SessionRecord | None = None


class CommitOutcome(StrEnum):
    """Of ending a request with an answer."""

    COMMITTED = "committed"
    LOST = "lost"  # the reservation is gone: nothing was charged, no answer may leave
    FREE_EXHAUSTED = "free_exhausted"  # it would be free, and no more are given: nothing was charged, it may not leave


class CommitResult(msgspec.Struct, frozen=True, gc=False):
    """With COMMITTED, ``answer`` is what ``finish`` made and ``session`` the record after it."""

    outcome: CommitOutcome
    session: SessionRecord | None = None
    sequence: int = 0
    usage_hash: bytes = b""
    answer: StoredAnswer | None = None


class DeliverOutcome(StrEnum):
    """Of writing down what of a stream is about to leave."""

    KEPT = "kept"
    LOST = "lost"  # the reservation is gone, or the session over: it may not leave


class ReleaseOutcome(StrEnum):
    """Of ending a request without one."""

    RELEASED = "released"
    GONE = "gone"  # committed or released before
    CUT = "cut"  # a stream, of which something has left: `cut_streams` has it


class CloseBegin(StrEnum):
    """Of barring new requests."""

    STARTED = "started"
    ALREADY = "already"  # closing already
    CLOSED = "closed"  # refunded or abandoned
    PENDING = "pending"
    UNKNOWN = "unknown"


class RelandOutcome(StrEnum):
    """Of a session that a fork took back and that landed again."""

    TAKEN = "taken"
    NOT_CLOSING = "not_closing"  # or its settlement is signed already


class DepositOutcome(StrEnum):
    """Of a top-up that was confirmed."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"  # not above what is known
    NOT_OPEN = "not_open"  # pending, abandoned or refunded
    UNKNOWN = "unknown"


class ClaimOutcome(StrEnum):
    """Of taking a session's settlement for one process."""

    CLAIMED = "claimed"
    ELSEWHERE = "elsewhere"  # another process that lives is at it


class PlanOutcome(StrEnum):
    """Of fixing what the settlement says."""

    PLANNED = "planned"
    SIGNED = "signed"  # a signed transaction is live: its plan stands
    IN_FLIGHT = "in_flight"  # a request may still commit
    STALE = "stale"  # the books moved on since the plan was made: make it anew
    NOT_CLOSING = "not_closing"


class SignedOutcome(StrEnum):
    """Of keeping the signed settlement."""

    STORED = "stored"
    NO_PLAN = "no_plan"


class RecordOutcome(StrEnum):
    """Of writing down what the chain did."""

    RECORDED = "recorded"
    ALREADY = "already"
    MISMATCH = "mismatch"  # settled + refunded is not the deposit: nothing written
    NOT_CLOSING = "not_closing"
