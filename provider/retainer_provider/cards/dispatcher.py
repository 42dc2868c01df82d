"""Hosting responders: holding each while this process may, and running its turns one after the other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

import structlog

from retainer_provider.books.ledger import Ledger, LedgerUnavailableError
from retainer_provider.books.steps import Bell, heard
from retainer_provider.cards import hosting, turns
from retainer_provider.cards.records import Fenced, Hold, Seat, Turn
from retainer_provider.cards.runner import Runner, Staffed
from retainer_provider.clock import Clock

_log = structlog.get_logger(__name__)

# So often in a lease it is renewed, so that a lost attempt loses nothing.
_RENEWALS: Final = 4
# Whoever is rung for looks at once; this is for rings that were lost.
_POLL_SECONDS: Final = 1.0


class Dispatcher:
    """Hosts those of `staff`, each while this process is the one that may."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        runner: Runner,
        clock: Clock,
        staff: Mapping[str, Staffed],
        seat: Seat,
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._clock = clock
        self._staff = staff
        self._seat = seat
        self._stopping = False

    @contextlib.asynccontextmanager
    async def running(self, grace: float) -> AsyncIterator[None]:
        """Host while the block runs; on leaving it, let turns that run end for `grace` seconds."""
        if not self._ledger.shared:
            await self._ledger.transact(hosting.evict_all())
        async with self._ledger.listening() as bell:
            beating = asyncio.create_task(self._beat())
            serving = [asyncio.create_task(self._serve(name, bell)) for name in self._staff]
            try:
                yield
            finally:
                self._stopping = True
                bell.ring()
                await asyncio.wait(serving, timeout=grace)
                for task in (beating, *serving):
                    task.cancel()
                await asyncio.gather(beating, *serving, return_exceptions=True)
                with contextlib.suppress(LedgerUnavailableError):
                    for name in self._staff:
                        await self._ledger.transact(hosting.let_go(name, self._seat.owner))
                    await self._ledger.transact(hosting.leave(self._seat.owner))

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(LedgerUnavailableError):
                await self._ledger.transact_ahead(hosting.beat(self._seat))
            await asyncio.sleep(self._seat.lease / _RENEWALS)

    async def _serve(self, name: str, bell: Bell) -> None:
        hosted = Hosted(self._ledger, name, self._staff[name].home, self._seat)
        while not self._stopping:
            ring = bell.next()
            try:
                idle = not await self._one_turn(hosted)
            except LedgerUnavailableError as error:
                _log.error("responder_not_hosted", responder=name, reason=str(error))
                idle = True
            except Exception:  # noqa: BLE001  one bad turn must not end all later ones
                _log.exception("turn_broke", responder=name)
                idle = True
            if idle:
                await heard(ring, min(_POLL_SECONDS, self._seat.lease / _RENEWALS))

    async def _one_turn(self, hosted: "Hosted") -> bool:
        """Run the next turn; whether there was one."""
        held = await hosted.hold()
        if held is None or not await self._ledger.look(turns.due(hosted.name)):
            return False
        turn = await self._ledger.transact(turns.take(held, self._staff[hosted.name].compose, self._clock.now_ms()))
        if not isinstance(turn, Turn):
            hosted.doubt()
            return False
        async with hosted.renewed(held):
            ran = await self._runner.run(held, turn)
        _log.info(
            "turn_ran", responder=hosted.name, card=turn.card, turn=turn.number, kind=str(turn.kind), end=str(ran)
        )
        return True


class Hosted:
    """A responder that this process holds, or tries to."""

    def __init__(self, ledger: Ledger, name: str, home: str, seat: Seat) -> None:
        self.name = name
        self._ledger = ledger
        self._home = home
        self._seat = seat
        self._held: Hold | None = None
        self._sure_until = 0.0

    async def hold(self) -> Hold | None:
        """The hold, written anew only when a good part of its lease is over; None while another process has it."""
        now = asyncio.get_running_loop().time()
        if self._held is not None and now < self._sure_until:
            return self._held
        before = self._held
        self._held = await self._ledger.transact_ahead(hosting.hold(self.name, self._home, self._seat))
        self._sure_until = now + self._seat.lease / _RENEWALS
        if self._held is None and before is not None:
            await self._ledger.transact(hosting.let_go(self.name, self._seat.owner))  # its home is back
        return self._held

    def doubt(self) -> None:
        """Look again who holds it."""
        self._sure_until = 0.0

    @contextlib.asynccontextmanager
    async def renewed(self, held: Hold) -> AsyncIterator[None]:
        """Keep the hold for as long as the block runs."""
        renewing = asyncio.create_task(self._renew(held))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self, held: Hold) -> None:
        while True:
            await asyncio.sleep(self._seat.lease / _RENEWALS)
            try:
                if await self._ledger.transact_ahead(hosting.renew(held, self._seat.lease)) is Fenced.LOST:
                    self.doubt()
                    return
            except LedgerUnavailableError as error:
                _log.warning("hold_not_renewed", responder=self.name, reason=str(error))
