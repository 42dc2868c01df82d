"""What running requests hold: in memory alone, since a crash releases it and it needs no sync, but for streams'.

The writer's thread alone takes and gives back, between or within its transactions: what a session has spent and what is
held of it are always seen together, so no interleaving can overspend. Other threads may look; each look is one step.
"""

import secrets
from dataclasses import dataclass
from itertools import count
from typing import Final

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.records import Reservation, ReserveRequest, SessionRecord


@dataclass(frozen=True, slots=True)
class Hold:
    """Sum and number of a session's reservations."""

    amount: BaseUnits
    requests: int


_NOTHING: Final = Hold(BaseUnits(0), 0)


class Holds:
    """The reservations of one opening of a file."""

    def __init__(self) -> None:
        # A reservation of an earlier opening must never name one of this.
        self._numbers = count(secrets.randbits(48) << 14)
        self._by_session: dict[str, Hold] = {}
        self._sessions: dict[int, SessionRecord] = {}
        self._fingerprints: dict[tuple[str, str], bytes] = {}
        self._streams: dict[int, bool] = {}  # of which something has left, and whether nobody sends more

    def of(self, session_id: str) -> Hold:
        """What the session's running requests hold."""
        return self._by_session.get(session_id, _NOTHING)

    def all(self) -> dict[str, Hold]:
        """What running requests hold, by session."""
        return self._by_session.copy()

    def running(self, session_id: str, key: str) -> bytes | None:
        """The fingerprint of the request that runs under the key."""
        return self._fingerprints.get((session_id, key))

    def take(self, session: SessionRecord, request: ReserveRequest, amount: BaseUnits) -> Reservation | None:
        """Hold the amount where neither what is spent nor what others hold has it; None where it is not there.

        ``session`` is as the writer just read it. The charge is guarded once more, by its own write.
        """
        hold = self.of(session.session_id)
        if session.authorized - session.spent - hold.amount < amount:
            return None
        taken = Reservation(
            next(self._numbers), session.session_id, request.key, request.fingerprint, amount, request.units
        )
        self._hold(session, taken)
        return taken

    def restore(self, session: SessionRecord, reservation: Reservation) -> None:
        """Hold again what a stream held when the process before this one died: it is cut."""
        self._hold(session, reservation)
        self._streams[reservation.id] = True

    def delivered(self, reservation: Reservation) -> None:
        """Something of a stream leaves: its reservation is not released any more."""
        self._streams[reservation.id] = False

    def cut(self, reservation: Reservation) -> bool:
        """Leave a stream to be booked as far as it came; False where nothing of it has left."""
        if reservation.id not in self._streams:
            return False
        self._streams[reservation.id] = True
        return True

    def is_stream(self, reservation: Reservation) -> bool:
        """Whether something of it has left already."""
        return reservation.id in self._streams

    def is_cut(self, reservation: Reservation) -> bool:
        """Whether nobody sends more of it."""
        return self._streams.get(reservation.id, False)

    def session_of(self, reservation: Reservation) -> SessionRecord | None:
        """The session as it was when this was taken; None where it is not held any more."""
        return self._sessions.get(reservation.id)

    def give_back(self, reservation: Reservation) -> None:
        """End a reservation that is held."""
        del self._sessions[reservation.id]
        self._streams.pop(reservation.id, None)
        if reservation.key is not None:
            del self._fingerprints[reservation.session_id, reservation.key]
        hold = self._by_session[reservation.session_id]
        if hold.requests == 1:
            del self._by_session[reservation.session_id]
        else:
            self._by_session[reservation.session_id] = Hold(
                BaseUnits(hold.amount - reservation.amount), hold.requests - 1
            )

    def _hold(self, session: SessionRecord, reservation: Reservation) -> None:
        hold = self.of(session.session_id)
        self._sessions[reservation.id] = session
        self._by_session[reservation.session_id] = Hold(BaseUnits(hold.amount + reservation.amount), hold.requests + 1)
        if reservation.key is not None:
            self._fingerprints[reservation.session_id, reservation.key] = reservation.fingerprint
