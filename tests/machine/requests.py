"""Requests and streams: reserved, delivered part by part, committed or released, and found cut by who comes after."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, consumes, multiple, precondition, rule
from msgspec import structs

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.meter import Charge
from retainer_provider.books.outcomes import CommitOutcome, DeliverOutcome, ReleaseOutcome, ReserveOutcome
from retainer_provider.books.records import Commit, Progress, Reservation, ReserveRequest
from tests.books import NOW, answer_of, commit_of, fingerprint
from tests.machine.base import PRICE, SESSIONS, Machine

KEYS = st.sampled_from(["a", "b", "c", None])
TEXTS = st.sampled_from(["one", "two"])
SHARES = st.integers(0, 100)
RESERVATIONS = Bundle[Reservation]("reservations")
HEADERS = (("content-type", "text/event-stream"),)


class Requests(Machine):
    """``born`` is the process that took a reservation: a dead one calls no more, a stalled one may."""

    def __init__(self) -> None:
        super().__init__()
        self.born: dict[int, Ledger] = {}

    def caller(self, reservation: Reservation) -> Ledger | None:
        """The process that may still act for it; None when it is dead."""
        born = self.born[reservation.id]
        return born if born in (self.ledger, self.stalled) else None

    def is_streams_of_the_dead(self, reservation: Reservation) -> bool:
        """A later process has such a reservation under the same number, and so nobody else may name it."""
        cut = reservation.id in self.models[reservation.session_id].cut
        return cut and self.caller(reservation) is None

    def part(self, reservation: Reservation, share: int) -> Charge:
        """So many hundredths of it, in whole units where the session has a price."""
        price = self.models[reservation.session_id].account.price_per_unit
        units = reservation.units * share // 100 if price else 1
        amount = units * price if price else reservation.amount * share // 100
        return Charge(charged=True, units=units, amount=BaseUnits(amount))

    @rule(target=RESERVATIONS, session_id=SESSIONS, key=KEYS, text=TEXTS, amount=st.integers(0, 60))
    def reserve(
        self, session_id: str, key: str | None, text: str, amount: int
    ) -> Reservation | MultipleResults[Reservation]:
        model = self.models[session_id]
        price = model.account.price_per_unit
        units = amount // price if price else 1
        amount = units * price if price else amount
        print_ = fingerprint(text)
        result = self.run(self.ledger.reserve(ReserveRequest(session_id, key, print_, amount, units, NOW)))
        self.came_to(result.outcome, model.on_reserve(key, print_, amount))
        if result.outcome is ReserveOutcome.REPLAY and key is not None:
            assert result.answer == model.answers[key][1]
        if result.reservation is None:
            return multiple()
        model.running[result.reservation.id] = result.reservation
        self.born[result.reservation.id] = self.ledger
        return result.reservation

    @rule(session_id=SESSIONS, key=KEYS, text=TEXTS, amount=st.integers(0, 60), charged=st.booleans())
    def serve(self, session_id: str, key: str | None, text: str, amount: int, charged: bool) -> None:  # noqa: FBT001
        """A request from its first to its last moment."""
        reservation = self.reserve(session_id, key, text, amount)
        if isinstance(reservation, Reservation):
            self.commit(reservation, charged, 100)

    @rule(session_id=SESSIONS, count=st.integers(2, 4))
    def break_promises_at_once(self, session_id: str, count: int) -> None:
        """Requests that run at the same time, and are all to be free: no more of them than the cap allows."""
        for reservation in [self.reserve(session_id, None, "one", PRICE) for _ in range(count)]:
            if isinstance(reservation, Reservation):
                self.commit(reservation, charged=False, share=0)

    @rule(session_id=SESSIONS, key=KEYS, text=TEXTS, parts=st.lists(SHARES, min_size=1, max_size=3))
    def begin_stream(self, session_id: str, key: str | None, text: str, parts: list[int]) -> None:
        """One that nobody ends, as far as this machine goes: only a death, or giving it up, does."""
        reservation = self.reserve(session_id, key, text, 30)
        if isinstance(reservation, Reservation):
            for share in sorted(parts):
                self.deliver(reservation, share)
            if len(parts) == 1:
                self.release(reservation)

    @rule(reservation=RESERVATIONS, charged=st.booleans(), share=SHARES)
    def commit(self, reservation: Reservation, charged: bool, share: int) -> None:  # noqa: FBT001
        """Also of reservations that ended before, were made before a restart, or by a process that lost its lease."""
        if self.is_streams_of_the_dead(reservation):
            return
        model, process = self.models[reservation.session_id], self.caller(reservation)
        end = self.end_of(reservation, share, charged=charged)
        fenced = process is not None and process is self.stalled
        expected = CommitOutcome.LOST if fenced else model.on_commit(reservation, charged=charged)
        result = self.run((process or self.ledger).commit(end))
        self.came_to(result.outcome, expected)
        if fenced:
            self.met["commits refused after the lease was lost"] += 1
            return
        model.end(reservation)
        if expected is CommitOutcome.COMMITTED:
            assert result.answer is not None
            model.charge(reservation, end.charge, result.answer)
            assert result.sequence == model.sequence

    def end_of(self, reservation: Reservation, share: int, *, charged: bool) -> Commit:
        end = commit_of(reservation, charged=charged)
        return structs.replace(end, charge=self.part(reservation, share)) if charged else end

    @rule(reservation=consumes(RESERVATIONS))
    def release(self, reservation: Reservation) -> None:
        if self.is_streams_of_the_dead(reservation):
            return
        model, process = self.models[reservation.session_id], self.caller(reservation)
        outcome = self.run((process or self.ledger).release(reservation))
        if process is not None and process is self.stalled:
            # What it had sent of a stream is booked by others, whether they have found it yet or not.
            assert outcome in (ReleaseOutcome.GONE, ReleaseOutcome.CUT)
            return
        held = reservation.id in model.running
        if reservation.id in model.streams:
            self.came_to(outcome, ReleaseOutcome.CUT)
            model.cut.add(reservation.id)
            return
        self.came_to(outcome, ReleaseOutcome.RELEASED if held else ReleaseOutcome.GONE)
        model.end(reservation)

    @rule(reservation=RESERVATIONS, share=SHARES)
    def deliver(self, reservation: Reservation, share: int) -> None:
        """A part of a stream is about to leave."""
        if self.is_streams_of_the_dead(reservation):
            return
        model, process = self.models[reservation.session_id], self.caller(reservation)
        progress = Progress(self.part(reservation, share), commit_of(reservation).usage, HEADERS)
        outcome = self.run((process or self.ledger).deliver(reservation, progress))
        if process is not None and process is self.stalled:
            self.came_to(outcome, DeliverOutcome.LOST)
            self.met["parts held back after the lease was lost"] += 1
            return
        self.came_to(outcome, model.on_deliver(reservation))
        if outcome is DeliverOutcome.KEPT:
            model.streams[reservation.id] = progress.charge

    @precondition(lambda self: any(model.cut for model in self.models.values()))
    @rule()
    def book_cut_streams(self) -> None:
        """Whoever finds them charges what had left, and nothing else; what nobody cut is left alone."""
        found = self.run(self.ledger.cut_streams())
        assert {stream.reservation.id for stream in found} == {n for model in self.models.values() for n in model.cut}
        for stream in found:
            model, reservation = self.models[stream.reservation.session_id], stream.reservation
            assert stream.progress.charge == model.streams[reservation.id]
            end = Commit(reservation, stream.progress.charge, stream.progress.usage, answer_of, NOW)
            expected = CommitOutcome.LOST if model.state is SessionState.REFUNDED else CommitOutcome.COMMITTED
            result = self.run(self.ledger.commit(end))
            self.came_to(result.outcome, expected)
            self.met["cut streams booked"] += expected is CommitOutcome.COMMITTED
            model.end(reservation)
            if result.answer is not None:
                model.charge(reservation, end.charge, result.answer)
        assert self.run(self.ledger.cut_streams()) == []
