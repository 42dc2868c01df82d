"""What goes on beside the requests: watching the chain, closing what is due, and settling until it is done."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.confirm import Timer
from retainer.chain.errors import ChainUnavailableError, ForeignAccountError
from retainer.chain.notices import Notice
from retainer.chain.sessions import session_account
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.session import ChainStatus, SessionAccount, SessionState
from retainer_provider.books.ledger import Ledger, LedgerInterruptedError, LedgerUnavailableError
from retainer_provider.books.outcomes import AbandonOutcome, ActivateOutcome
from retainer_provider.books.records import Custody, SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.sessions.cut_streams import CutStreams
from retainer_provider.settling.announcements import Announcements
from retainer_provider.settling.archive import Archive
from retainer_provider.settling.incoming import Incoming
from retainer_provider.settling.interim import InterimSettler
from retainer_provider.settling.reclaim import Reclaimer
from retainer_provider.settling.settler import SettlementOutcome, Settler
from retainer_provider.settling.watcher import Watcher

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# How long answers stay for replay after a session is closed.
_REPLAY_SECONDS: Final = 24 * 3600
_PAGE: Final = 100
_DUE_AT_ONCE: Final = 1000
# An unsettled session is tried again after so many seconds, then twice as many, up to the last.
_FIRST_RETRY: Final = 5.0
_LAST_RETRY: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Seconds between passes, and after how many a deposit that did not come is given up."""

    watch_seconds: float = 5.0
    sweep_seconds: float = 15.0
    settle_seconds: float = 5.0
    pending_seconds: int = 900
    program_id: Pubkey = PROGRAM_ID


class Sweeper:
    """Closes what is expired or idle, gives up deposits that never came, returns those whose agent never came back."""

    def __init__(
        self,
        *,
        chain: Chain,
        ledger: Ledger,
        clock: Clock,
        reclaimer: Reclaimer,
        options: WorkerOptions,
        archive: Archive | None = None,
    ) -> None:
        self._archive = archive
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._reclaimer = reclaimer
        self._options = options
        self._incoming = Incoming(chain=chain, ledger=ledger, clock=clock)

    async def sweep(self) -> None:
        """One pass; ChainUnavailableError leaves pending and settled sessions for the next."""
        now = self._clock.now()
        for session in await self._ledger.due(now, limit=_DUE_AT_ONCE):
            expired = session.state_at(now) is SessionState.EXPIRED
            await self._ledger.begin_close(session.session_id, "it expired" if expired else "it was idle", now)
        await self._ledger.purge_answers(now - _REPLAY_SECONDS)
        if self._archive is not None:
            await self._archive.move(now)
        await self._sweep_pending(now)
        await self._reclaimer.reclaim()

    async def _sweep_pending(self, now: int) -> None:
        after = 0
        while sessions := await self._ledger.sessions(states={SessionState.PENDING}, limit=_PAGE, after=after):
            for session in sessions:
                if now - session.created_at >= self._options.pending_seconds:
                    custodial = session.custody is Custody.PROVIDER
                    await (self._end_awaited if custodial else self._end_pending)(session, now)
            after = sessions[-1].number

    async def _end_awaited(self, session: SessionRecord, now: int) -> None:
        """The same of a custodial one; while its transfer may still land it is left alone."""
        if not await self._incoming.resolved(session.session_id):
            return
        abandoned = await self._ledger.abandon(session.session_id, "its deposit did not come as agreed", now)
        if abandoned is AbandonOutcome.NOT_PENDING:
            await self._ledger.begin_close(session.session_id, "it was opened and never used", now)

    async def _end_pending(self, session: SessionRecord, now: int) -> None:
        """By now the opening is final or dead. A deposit that did land, as agreed, is sent back by closing at zero."""
        address = Pubkey.from_string(session.session_id)
        try:
            account = await session_account(
                self._chain, address, program_id=self._options.program_id, commitment=Commitment.FINALIZED
            )
        except ForeignAccountError:
            account = None
        if account is None or not _as_agreed(session, account):
            await self._ledger.abandon(session.session_id, "its deposit did not come as agreed", now)
            return
        activated = await self._ledger.activate(session.session_id, account, None, now)
        if activated is ActivateOutcome.ACTIVATED:
            await self._ledger.begin_close(session.session_id, "it was opened and never used", now)


def _as_agreed(session: SessionRecord, account: SessionAccount) -> bool:
    # The address fixes the rest. What differs here is no session of this service's.
    return (
        account.status is ChainStatus.OPEN
        and account.operator == session.operator
        and account.settled == 0
        and account.deposit >= session.deposit
        and account.price_per_unit in (0, session.price)
    )


class Workers:
    """Runs watcher, sweeper and settler until told to stop. What they leave behind is continued at the next start."""

    def __init__(
        self,
        *,
        watcher: Watcher,
        sweeper: Sweeper,
        settler: Settler,
        ledger: Ledger,
        timer: Timer,
        options: WorkerOptions,
        interim: InterimSettler | None = None,
        cut_streams: CutStreams | None = None,
        notices: Callable[[], AsyncIterator[Notice | None]] | None = None,
    ) -> None:
        self._interim = interim
        self._notices = notices
        self._cut_streams = cut_streams
        self._watcher = watcher
        self._sweeper = sweeper
        self._settler = settler
        self._ledger = ledger
        self._timer = timer
        self._options = options
        self._settling: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work in the background of the block; on leaving it, stop at once."""
        passes = [
            (self._watch, self._options.watch_seconds),
            (self._sweeper.sweep, self._options.sweep_seconds),
            (self.settle_open, self._options.settle_seconds),
        ]
        if self._cut_streams is not None:
            passes.append((self._cut_streams.book, self._options.settle_seconds))
        if self._interim is not None:
            passes.append((self._interim.look, self._options.sweep_seconds))
        tasks = [asyncio.create_task(self._repeat(work, seconds)) for work, seconds in passes]
        if self._notices is not None:
            listener = Announcements(
                notices=self._notices, watcher=self._watcher, settle=self.settle_open, timer=self._timer
            )
            tasks.append(asyncio.create_task(self._repeat(listener.run, _FIRST_RETRY)))
        try:
            yield
        finally:
            tasks += self._settling.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Look, and answer a payer's exit at once: its grace period is running."""
        await self._watcher.look()
        await self.settle_open()

    async def settle_open(self) -> None:
        """Start settling every CLOSING session that is not being settled yet, earliest deadline first (F16)."""
        for session_id in await self._ledger.closing():
            if session_id not in self._settling:
                self._settling[session_id] = asyncio.create_task(self._settle(session_id))

    @property
    def settling(self) -> int:
        """How many sessions are being settled."""
        return len(self._settling)

    async def settled(self) -> None:
        """Return once nothing is being settled."""
        while self._settling:
            await asyncio.wait(self._settling.values())

    async def _settle(self, session_id: str) -> None:
        retry = _FIRST_RETRY
        try:
            while not await self._attempt(partial(self._settler.settle, session_id), done=_is_end):
                await self._timer.sleep(retry)
                retry = min(2 * retry, _LAST_RETRY)
        finally:
            del self._settling[session_id]

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while not await self._attempt(work, done=_never):
            await self._timer.sleep(seconds)

    async def _attempt(self, work: Callable[[], Awaitable[T]], *, done: Callable[[T], bool]) -> bool:
        """Do it, whatever it raises; returns whether it need not be done again."""
        try:
            return done(await work())
        except ChainUnavailableError as error:
            _log.warning("chain_unavailable", reason=str(error))
        except LedgerInterruptedError as error:
            _log.error("ledger_interrupted", reason=str(error))
        except LedgerUnavailableError as error:
            _log.critical("ledger_unavailable", reason=str(error))
            return True
        except Exception:  # noqa: BLE001  one bad pass must not end all later ones
            _log.exception("worker_failed")
        return False


def _is_end(outcome: SettlementOutcome) -> bool:
    return outcome.is_end


def _never(_: None) -> bool:
    return False
