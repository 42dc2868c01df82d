"""How sessions stand while requests run: in memory alone, since a crash releases what they hold, but for streams'.

A file is one process's, so what it wrote is what the file says. The event loop's thread alone admits, takes and gives
back, by the figures as they were last acknowledged; the writer alone goes on from what it last wrote.
"""

import asyncio
import secrets
from itertools import count

import msgspec
from msgspec.structs import replace

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.records import Reservation, ReserveRequest, SessionRecord

_MOST_IN_MEMORY = 16_384
"""Sessions that are remembered between requests; one that is not costs a reading of its row."""


class Figures(msgspec.Struct, frozen=True, gc=False):
    """A session's row: ``answer_bytes`` of bodies are stored. What ``record`` says of reservations means nothing."""

    record: SessionRecord
    answer_bytes: int


# One for each session in memory: what the garbage collector need not go through (a standing that waits for calm is
# told before it is dropped, so no cycle outlives its requests).
class Standing(msgspec.Struct, eq=False, gc=False):
    """One session. Running requests hold ``taken - told`` as the loop knows, ``taken - ended`` as the writer does."""

    known: Figures | None = None  # the loop's: as acknowledged
    requests: int = 0
    taken: int = 0
    told: int = 0
    changes: int = 0  # under way, of other things than its debits: until they are over, `known` is not to go by
    calm: asyncio.Event | None = None
    written: Figures | None = None  # the writer's: as written, perhaps not yet synced
    ended: int = 0  # the writer's

    @property
    def held(self) -> BaseUnits:
        """What running requests hold."""
        return BaseUnits(self.taken - self.told)

    def shown(self, record: SessionRecord) -> SessionRecord:
        """The record with what running requests hold."""
        return replace(record, reserved=self.taken - self.told)

    async def until_calm(self) -> None:
        """Return once the changes under way are over; there may be others by then."""
        self.calm = self.calm or asyncio.Event()
        await self.calm.wait()

    @property
    def idle(self) -> bool:
        """Whether the row says all there is to know."""
        return not self.requests and not self.changes


class Held(msgspec.Struct, eq=False):
    """A reservation."""

    standing: Standing
    stream: bool = False  # something of it has left, or is about to
    cut: bool = False  # nobody sends more of it
    booking: bool = False  # its commit is under way
    over: asyncio.Event | None = None

    async def until_over(self) -> None:
        """Return once the commit is over."""
        self.over = self.over or asyncio.Event()
        await self.over.wait()

    def booked(self) -> None:
        """The commit is over."""
        self.booking = False
        if self.over is not None:
            self.over.set()
            self.over = None


class Standings:
    """The sessions in memory, and the reservations of one opening of a file."""

    def __init__(self) -> None:
        # A reservation of an earlier opening must never name one of this.
        self._numbers = count(secrets.randbits(48) << 14)
        self._standings: dict[str, Standing] = {}
        self._reservations: dict[int, Held] = {}
        self._running: dict[tuple[str, str], bytes] = {}  # session and key of a running request: its fingerprint

    def find(self, session_id: str) -> Standing | None:
        """How the session stands; None where it is not in memory."""
        return self._standings.get(session_id)

    def remember(self, session_id: str, figures: Figures) -> Standing:
        """A session that is not in memory stands as its row says."""
        standing = self._enter(session_id)
        standing.known = standing.written = figures
        return standing

    def change(self, session_id: str) -> Standing:
        """Something else than a debit is about to change the session: nothing is admitted until ``changed``."""
        standing = self._standings.get(session_id) or self._enter(session_id)
        standing.changes += 1
        return standing

    def changed(self, session_id: str, standing: Standing, figures: Figures | None) -> None:
        """That is over, with these figures; without, where nothing was changed or no such session is."""
        standing.changes -= 1
        standing.known = figures or standing.known
        if standing.changes:
            return
        if standing.calm is not None:
            standing.calm.set()
            standing.calm = None
        if standing.known is None and standing.idle:
            self._standings.pop(session_id, None)

    def held_of(self, session_id: str) -> BaseUnits:
        """What the session's running requests hold. Any thread may ask."""
        standing = self._standings.get(session_id)
        return BaseUnits(0) if standing is None else standing.held

    def running(self, session_id: str) -> int:
        """How many requests of the session run."""
        standing = self._standings.get(session_id)
        return 0 if standing is None else standing.requests

    def fingerprint(self, session_id: str, key: str) -> bytes | None:
        """Of the running request with this key, if there is one."""
        return self._running.get((session_id, key))

    def all_held(self) -> dict[str, BaseUnits]:
        """What running requests hold, by session."""
        return {name: standing.held for name, standing in self._standings.items() if standing.requests}

    def take(
        self, standing: Standing, record: SessionRecord, request: ReserveRequest, amount: BaseUnits
    ) -> Reservation | None:
        """Hold the amount where neither what is spent nor what others hold has it; None where it is not there.

        The charge is guarded once more, by its own write.
        """
        if record.authorized - record.spent - standing.held < amount:
            return None
        taken = Reservation(
            next(self._numbers), record.session_id, request.key, request.fingerprint, amount, request.units
        )
        self._hold(standing, taken)
        return taken

    def restore(self, standing: Standing, reservation: Reservation) -> None:
        """Hold again what a stream held when the process before this one died: it is cut."""
        held = self._hold(standing, reservation)
        held.stream = held.cut = True

    def reservation(self, reservation: Reservation) -> Held | None:
        """The reservation, if it is held."""
        return self._reservations.get(reservation.id)

    def give_back(self, reservation: Reservation, *, written: bool) -> None:
        """End a reservation that is held; ``written`` if the writer has ended it already."""
        standing = self._reservations.pop(reservation.id).standing
        standing.requests -= 1
        if written:
            standing.told += reservation.amount
        else:
            standing.taken -= reservation.amount
        if reservation.key is not None:
            del self._running[reservation.session_id, reservation.key]

    def _hold(self, standing: Standing, reservation: Reservation) -> Held:
        held = self._reservations[reservation.id] = Held(standing)
        standing.requests += 1
        standing.taken += reservation.amount
        if reservation.key is not None:
            self._running[reservation.session_id, reservation.key] = reservation.fingerprint
        return held

    def _enter(self, session_id: str) -> Standing:
        if len(self._standings) >= _MOST_IN_MEMORY:
            idle = next((name for name, standing in self._standings.items() if standing.idle), None)
            if idle is not None:
                del self._standings[idle]
        standing = self._standings[session_id] = Standing()
        return standing
