"""What each ledger call can end in. Expected alternatives are enums; callers handle every one."""

from dataclasses import dataclass
from enum import StrEnum

from retainer_provider.records import Reservation, SessionRecord, StoredAnswer


class AdmitOutcome(StrEnum):
    ADMITTED = "admitted"
    KNOWN_SAME = "known_same"  # the same opening told again: idempotent
    KNOWN_OTHER = "known_other"  # the id belongs to another opening, for ever (F01)


@dataclass(frozen=True, slots=True)
class AdmitResult:
    outcome: AdmitOutcome
    session: SessionRecord


class ActivateOutcome(StrEnum):
    ACTIVATED = "activated"
    ALREADY_ACTIVE = "already_active"
    NOT_PENDING = "not_pending"  # abandoned, closing, refunded or unknown


class AbandonOutcome(StrEnum):
    ABANDONED = "abandoned"
    NOT_PENDING = "not_pending"


class ReserveOutcome(StrEnum):
    RESERVED = "reserved"
    REPLAY = "replay"  # same key, same request: `answer` is the stored one
    IN_FLIGHT = "in_flight"  # same key, same request, still running
    CONFLICT = "conflict"  # same key, another request
    DEPLETED = "depleted"
    EXPIRED = "expired"
    CLOSING = "closing"
    CLOSED = "closed"  # refunded or abandoned
    PENDING = "pending"
    UNKNOWN = "unknown"
    FREE_EXHAUSTED = "free_exhausted"


@dataclass(frozen=True, slots=True)
class ReserveResult:
    """`reservation` with RESERVED only, `answer` with REPLAY only, `session` with all but UNKNOWN."""

    outcome: ReserveOutcome
    reservation: Reservation | None = None
    answer: StoredAnswer | None = None
    session: SessionRecord | None = None


class CommitOutcome(StrEnum):
    COMMITTED = "committed"
    LOST = "lost"  # the reservation is gone: nothing was charged, no answer may leave


@dataclass(frozen=True, slots=True)
class CommitResult:
    """With COMMITTED, `answer` is what `finish` made and `session` the record after the charge."""

    outcome: CommitOutcome
    session: SessionRecord | None = None
    sequence: int = 0
    usage_hash: bytes = b""
    answer: StoredAnswer | None = None


class ReleaseOutcome(StrEnum):
    RELEASED = "released"
    GONE = "gone"  # committed or released before


class CloseBegin(StrEnum):
    STARTED = "started"
    ALREADY = "already"  # closing already
    CLOSED = "closed"  # refunded or abandoned
    PENDING = "pending"
    UNKNOWN = "unknown"


class DepositOutcome(StrEnum):
    APPLIED = "applied"
    UNCHANGED = "unchanged"  # not above what is known
    CLOSED = "closed"
    UNKNOWN = "unknown"


class PlanOutcome(StrEnum):
    PLANNED = "planned"
    SIGNED = "signed"  # a signed transaction is live: its plan stands
    IN_FLIGHT = "in_flight"  # a request may still commit
    NOT_CLOSING = "not_closing"


class SignedOutcome(StrEnum):
    STORED = "stored"
    NO_PLAN = "no_plan"


class RecordOutcome(StrEnum):
    RECORDED = "recorded"
    ALREADY = "already"
    MISMATCH = "mismatch"  # settled + refunded is not the deposit: nothing written
    NOT_CLOSING = "not_closing"
