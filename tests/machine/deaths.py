"""What ends a process: orderly, in the middle of a commit, or its lease, which it may not even notice."""

import asyncio
from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from msgspec import structs

from retainer_provider.books.ledger import LedgerUnavailableError
from retainer_provider.books.outcomes import CommitOutcome, ReserveOutcome
from retainer_provider.books.records import Commit, CommitFacts, Reservation, ReserveRequest, StoredAnswer
from tests.books import NOW, fingerprint
from tests.machine.base import SESSIONS
from tests.machine.requests import KEYS, RESERVATIONS, SHARES, TEXTS, Requests

# Turns of the event loop from the call to the death: before the first write, amidst them, or long after the last.
MOMENTS = st.sampled_from([0, 1, 5, 20, 50, 100, 200, 1000])


class Deaths(Requests):
    """After each, another process opens the same books."""

    async def fence(self) -> None:
        """Let the leases of all processes so far run out, as when they stall."""
        raise NotImplementedError("these books have no leases")

    @precondition(lambda self: any(model.running or model.plan for model in self.models.values()))
    @rule()
    def restart(self) -> None:
        self.met["restarts"] += 1
        self.run(self.ledger.aclose())
        self.succeed()

    @rule(session_id=SESSIONS, key=KEYS, text=TEXTS, amount=st.integers(0, 60), moment=MOMENTS)
    def die_in_a_commit(self, session_id: str, key: str | None, text: str, amount: int, moment: int) -> None:
        """The charge is in the books as a whole, or never was; when it was acknowledged, it is. Retried, it is once."""
        reservation, model = self.reserve(session_id, key, text, amount), self.models[session_id]
        if not isinstance(reservation, Reservation):
            return
        if key is None:  # nobody can retry it, so that what comes of it would depend on the moment
            self.release(reservation)
            return
        made: list[StoredAnswer] = []
        end = self.end_of(reservation, 100, charged=True)
        acknowledged = self.run(self.commit_and_die(self.noting(end, made), moment))
        self.succeed()
        kept = self.booked(session_id).sequence > model.sequence
        assert kept or not acknowledged, "a charge that was acknowledged is lost"
        self.met[f"deaths in a commit that is {'booked' if kept else 'not booked'} afterwards"] += 1
        again = ReserveRequest(session_id, key, fingerprint(text), reservation.amount, reservation.units, NOW)
        retried = self.run(self.ledger.reserve(again))
        assert retried.outcome is (ReserveOutcome.REPLAY if kept else ReserveOutcome.RESERVED)
        if retried.reservation is not None:
            done = self.run(
                self.ledger.commit(structs.replace(self.noting(end, made), reservation=retried.reservation))
            )
            assert done.outcome is CommitOutcome.COMMITTED
        assert retried.answer in (None, made[-1])
        model.charge(reservation, end.charge, made[-1])

    @staticmethod
    def noting(end: Commit, made: list[StoredAnswer]) -> Commit:
        def finish(facts: CommitFacts) -> StoredAnswer:
            made.append(end.finish(facts))
            return made[-1]

        return structs.replace(end, finish=finish)

    async def commit_and_die(self, end: Commit, moment: int) -> bool:
        """Whether it was answered before."""
        dying = self.ledger
        call = asyncio.ensure_future(dying.commit(end))
        for _ in range(moment):
            await asyncio.sleep(0)
        acknowledged = call.done()
        await self.die()
        with suppress(LedgerUnavailableError):
            await call
        await dying.aclose()
        await self.bury_stalled()
        return acknowledged

    @precondition(lambda self: self.shared and any(model.running for model in self.models.values()))
    @rule(reservation=RESERVATIONS, share=SHARES)
    def stall(self, reservation: Reservation, share: int) -> None:
        """The process lives on without its lease, and what it held is another's to judge, whatever it still says."""
        self.met["leases lost"] += 1
        self.run(self.fence())
        self.run(self.bury_stalled())
        self.stalled = self.ledger
        self.succeed()
        self.deliver(reservation, share)
        self.commit(reservation, charged=True, share=share)

    async def bury_stalled(self) -> None:
        """It calls no more."""
        if self.stalled is not None:
            await self.stalled.aclose()
            self.stalled = None

    def succeed(self) -> None:
        """Another process opens what the last one left."""
        self.ledger = self.run(self.open_books(anew=False))
        for model in self.models.values():
            model.die()
