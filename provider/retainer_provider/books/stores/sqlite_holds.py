"""What running requests hold: in memory alone, since a crash releases it all and it needs no sync.

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
        self._sessions[taken.id] = session
        self._by_session[taken.session_id] = Hold(BaseUnits(hold.amount + amount), hold.requests + 1)
        if taken.key is not None:
            self._fingerprints[taken.session_id, taken.key] = taken.fingerprint
        return taken

    def session_of(self, reservation: Reservation) -> SessionRecord | None:
        """The session as it was when this was taken; None where it is not held any more."""
        return self._sessions.get(reservation.id)

    def give_back(self, reservation: Reservation) -> None:
        """End a reservation that is held."""
        del self._sessions[reservation.id]
        if reservation.key is not None:
            del self._fingerprints[reservation.session_id, reservation.key]
        hold = self._by_session[reservation.session_id]
        if hold.requests == 1:
            del self._by_session[reservation.session_id]
        else:
            self._by_session[reservation.session_id] = Hold(
                BaseUnits(hold.amount - reservation.amount), hold.requests - 1
            )
