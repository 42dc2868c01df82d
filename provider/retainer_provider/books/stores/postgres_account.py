"""A session while a group of debits is decided. Pure: read under the row's lock before, written by one statement."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState, VoucherSigner
from retainer.protocol.usage import entry_json, hash_after
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.admission import barred, uncharged, voucher_refusal
from retainer_provider.books.outcomes import CommitOutcome, CommitResult, ReserveOutcome, ReserveResult
from retainer_provider.books.records import (
    AnswerLimits,
    Commit,
    CommitFacts,
    Reservation,
    ReserveRequest,
    SessionRecord,
    StoredAnswer,
)
from retainer_provider.books.usage import usage_entry

Known: TypeAlias = tuple[bytes, StoredAnswer | None]
"""What the books have of a key: its request's fingerprint, and the answer unless the request is still running."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A request, and the reservation that it gets if it gets one.

    Whoever asks numbers it, so that it can be given back where nobody knows whether the database has it.
    """

    request: ReserveRequest
    reservation: Reservation


class Line(NamedTuple):
    """An entry of the usage log as it is kept: canonical JSON, and the hash chain's head after it."""

    sequence: int
    text: str
    root: bytes


@dataclass(slots=True)
class Ending:
    """A reservation that ends: with an entry where it was charged, and an answer where its key replays."""

    reservation: Reservation
    line: Line | None = None
    answer: StoredAnswer | None = None


class Account:
    """The session as it will be once what was decided so far is written; and what that is."""

    def __init__(self, session: SessionRecord, answer_bytes: int) -> None:
        self.before = session
        self.session = session
        self.voucher: SignedVoucher | None = None  # the last one newly accepted
        self.taken: list[Reservation] = []
        self.ended: list[Ending] = []
        self.answer_bytes = answer_bytes  # of bodies kept for replay
        self.known: dict[str, Known] = {}  # by key

    def reserve(self, hold: Hold) -> ReserveResult:
        """Hold the price, or say why not."""
        request = hold.request
        known = None if request.key is None else self.known.get(request.key)
        if known is not None:
            return self._repeated(request, *known)
        refusal = self._refusal(request) or self._hold(hold.reservation)
        if refusal is not None:
            return ReserveResult(refusal, session=self.session)
        return ReserveResult(ReserveOutcome.RESERVED, hold.reservation, session=self.session)

    def end(self, end: Commit, held: int, limits: AnswerLimits) -> CommitResult:
        """Charge the request that held so much, or say why not. What ``end.finish`` raises is raised here."""
        ending = Ending(end.reservation)
        self.ended.append(ending)
        self.session = replace(self.session, reserved=BaseUnits(self.session.reserved - held))
        if not self._pays(end):
            return uncharged(self.session, end.charge)
        session = _charged(self.session, end)
        entry = usage_entry(end, session.sequence, session.spent)
        text = entry_json(entry)
        root = hash_after(session.usage_root, text)
        self.session = session = replace(session, usage_root=root)
        answer = end.finish(CommitFacts(session, entry, root))
        ending.line = Line(entry.sequence, text.decode(), root)
        if end.reservation.key is not None:
            ending.answer = self._kept(answer, limits)
        return CommitResult(CommitOutcome.COMMITTED, session, entry.sequence, root, answer)

    @property
    def moved(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.taken or self.ended or self.voucher is not None)

    def _repeated(self, request: ReserveRequest, fingerprint: bytes, answer: StoredAnswer | None) -> ReserveResult:
        if fingerprint != request.fingerprint:
            return ReserveResult(ReserveOutcome.CONFLICT, session=self.session)
        outcome = ReserveOutcome.IN_FLIGHT if answer is None else ReserveOutcome.REPLAY
        return ReserveResult(outcome, answer=answer, session=self.session)

    def _refusal(self, request: ReserveRequest) -> ReserveOutcome | None:
        refusal = barred(self.session, request.now)
        if refusal is None and request.voucher is not None:
            refusal = self._accept(request.voucher, request.amount)
        return refusal

    def _accept(self, signed: SignedVoucher, amount: int) -> ReserveOutcome | None:
        """Take a voucher that pays for ``amount``; None once it is accepted."""
        session, cumulative = self.session, signed.voucher.cumulative
        refusal = voucher_refusal(session, signed, amount)
        if refusal is not None or signed == session.voucher:
            return refusal
        of_vouchers = session.voucher_signer is VoucherSigner.CLIENT
        if not of_vouchers or cumulative <= session.accepted or cumulative - session.spent < amount:
            return ReserveOutcome.VOUCHER_LOW
        self.session, self.voucher = replace(session, accepted=cumulative, voucher=signed), signed
        return None

    def _hold(self, reservation: Reservation) -> ReserveOutcome | None:
        session, amount = self.session, reservation.amount
        if session.authorized - session.spent - session.reserved < amount:
            return ReserveOutcome.DEPLETED
        self.session = replace(session, reserved=BaseUnits(session.reserved + amount))
        self.taken.append(reservation)
        if reservation.key is not None:
            self.known[reservation.key] = (reservation.fingerprint, None)
        return None

    def _pays(self, end: Commit) -> bool:
        session, cap = self.session, self.session.max_free_answers
        return (
            session.state in {SessionState.ACTIVE, SessionState.CLOSING}
            and session.authorized - session.spent >= end.charge.amount
            and (end.charge.charged or cap is None or session.free_answers < cap)
        )

    def _kept(self, answer: StoredAnswer, limits: AnswerLimits) -> StoredAnswer:
        """As it is kept for replay: without its body where that is over the caps."""
        body = answer.body
        if body is not None and len(body) > limits.room(self.answer_bytes):
            body = None
        self.answer_bytes += len(body or b"")
        return answer if body is answer.body else StoredAnswer(answer.status, answer.headers, None, answer.receipt)


def _charged(session: SessionRecord, end: Commit) -> SessionRecord:
    return replace(
        session,
        spent=BaseUnits(session.spent + end.charge.amount),
        units_charged=session.units_charged + end.charge.units,
        sequence=session.sequence + 1,
        free_answers=session.free_answers + (not end.charge.charged),
        last_activity_at=end.now,
    )
