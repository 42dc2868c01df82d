"""What running requests hold, as told to readers: a copy of the writer's ``held`` table, which alone guards money."""

from dataclasses import dataclass, field
from typing import Final

from retainer.protocol.amounts import BaseUnits


@dataclass(frozen=True, slots=True)
class Hold:
    """Sum and number of a session's reservations."""

    amount: BaseUnits
    requests: int


_NOTHING: Final = Hold(BaseUnits(0), 0)


@dataclass(slots=True)
class Holds:
    """Written by the writer thread alone; one dict operation each, so that any thread may read."""

    _by_session: dict[str, Hold] = field(default_factory=dict)

    def of(self, session_id: str) -> Hold:
        """What the session's running requests hold."""
        return self._by_session.get(session_id, _NOTHING)

    def all(self) -> dict[str, Hold]:
        """What running requests hold, by session."""
        return self._by_session.copy()

    def put(self, session_id: str, hold: Hold) -> None:
        """Take over the writer's totals of a session."""
        if hold.requests:
            self._by_session[session_id] = hold
        else:
            self._by_session.pop(session_id, None)
