"""What the chain says of open sessions: exits asked for, top-ups, missing accounts; and how fresh that news is."""

from collections.abc import Sequence
from typing import Final

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain, Commitment
from retainer.chain.errors import ChainUnavailableError, ForeignAccountError
from retainer.chain.sessions import read_session, session_account
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.session import ChainStatus, SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import Custody, SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.exposure import Exposure
from retainer_provider.settling.past_refunds import past_refund
from retainer_provider.settling.removal import find_removal

_log = structlog.get_logger(__name__)

# What one call for many accounts may ask for.
_PAGE: Final = 100
# Of the grace period: how old the view may be while the service goes on selling.
_STALE_FRACTION: Final = 3
# By when an opening is final or never will be: generous multiples of the 32 slots and 13 seconds it takes.
_FINAL_SLOTS: Final = 150
_FINAL_SECONDS: Final = 120


class ChainView:
    """When all open sessions were last seen. A node that answers but stands still shows nothing new (F07, F32)."""

    def __init__(self) -> None:
        self._seen_at: int | None = None
        self._began_at: int | None = None
        self._slot = -1
        self._frozen: set[str] = set()

    @property
    def slot(self) -> int:
        """The newest slot seen, -1 before the first."""
        return self._slot

    def began(self, now: int) -> None:
        """A pass over all open sessions begins, and the chain answers."""
        self._began_at = now

    def saw(self, slot: int, now: int) -> None:
        """All open sessions were read, at a time when the chain was at ``slot``."""
        if slot > self._slot:
            self._slot, self._seen_at = slot, now

    def freeze(self, session_id: str) -> None:
        """The chain does not have what this session was credited with: nothing more is sold to it meanwhile."""
        self._frozen.add(session_id)

    def thaw(self, session_id: str) -> None:
        """The chain has it, or the session is at its end."""
        self._frozen.discard(session_id)

    def frozen(self, session_id: str) -> bool:
        """Whether the session is served nothing at the moment."""
        return session_id in self._frozen

    @property
    def frozen_sessions(self) -> int:
        """How many are."""
        return len(self._frozen)

    def age(self, now: int) -> int | None:
        """Seconds since then; None before the first look."""
        return None if self._seen_at is None else now - self._seen_at

    def fresh(self, now: int, grace_period: int) -> bool:
        """Whether a payer's exit would have been seen early enough for a session of this grace period.

        False as well when the machine's clock went back, since the view's age is not known then (F25).
        """
        return _early_enough(self._seen_at, now, grace_period)

    def selling(self, now: int, grace_period: int) -> bool:
        """Whether such sessions are sold to: the view is fresh, or the first pass is under way, see ``FirstLook``."""
        return _early_enough(self._began_at if self._seen_at is None else self._seen_at, now, grace_period)


def _early_enough(seen_at: int | None, now: int, grace_period: int) -> bool:
    return seen_at is not None and 0 <= now - seen_at <= grace_period // _STALE_FRACTION


class Watcher:
    """Reads the accounts of ACTIVE sessions. ``exposure`` knows the level from which on a deposit counts."""

    def __init__(
        self,
        *,
        chain: Chain,
        ledger: Ledger,
        clock: Clock,
        view: ChainView,
        exposure: Exposure,
        program_id: Pubkey = PROGRAM_ID,
    ) -> None:
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._view = view
        self._exposure = exposure
        self._program_id = program_id
        self._began_at = clock.now()
        self._refunds_sought: set[str] = set()

    async def look(self, *, first_page: bool = False) -> None:
        """One pass over all ACTIVE sessions, or over the first few, which may be all there are.

        ChainUnavailableError leaves the view as old as it is.
        """
        started = self._clock.now()
        slot = await self._chain.slot(commitment=Commitment.CONFIRMED)
        self._view.began(started)
        after = 0
        while sessions := await self._ledger.sessions(states={SessionState.ACTIVE}, limit=_PAGE, after=after):
            after = sessions[-1].number
            await self.look_over(sessions)
            if first_page and len(sessions) == _PAGE:
                return
        self._view.saw(slot, started)

    async def look_over(self, sessions: Sequence[SessionRecord]) -> None:
        """The accounts of a page of ACTIVE sessions; ChainUnavailableError where no node tells them."""
        for session in sessions:
            if session.custody is Custody.PROVIDER:
                await self._seek_refund(session)
        escrowed = [session for session in sessions if session.custody is Custody.ESCROW]
        found = await self._chain.accounts([Pubkey.from_string(session.session_id) for session in escrowed])
        for session, info in zip(escrowed, found, strict=True):
            await self._compare(session, info)

    async def _seek_refund(self, session: SessionRecord) -> None:
        """Once, of a session that is older than this process: its books may be an old backup.

        What the service holds itself has no account that could say so.
        """
        if session.created_at >= self._began_at or session.session_id in self._refunds_sought:
            return
        try:
            past = await past_refund(self._chain, session)
        except ChainUnavailableError as error:
            # A node without history is no reason to sell nothing to anybody else.
            self._view.freeze(session.session_id)
            _log.error("refund_history_missing", session=session.session_id, reason=str(error))
            return
        self._view.thaw(session.session_id)
        if past is not None:
            await self._ledger.begin_close(session.session_id, "its refund is on chain", self._clock.now())
            _log.error("books_behind_refund", session=session.session_id)
        self._refunds_sought.add(session.session_id)

    async def look_at(self, address: Pubkey, *, min_slot: int) -> None:
        """One account, no older than ``min_slot``, if it is an ACTIVE session's.

        An absent one is left to the next pass: it may be the settlement that is just landing. ChainUnavailableError
        while no node has come as far.
        """
        session = await self._ledger.session(str(address))
        if session is None or session.state is not SessionState.ACTIVE or session.custody is not Custody.ESCROW:
            return
        info = await self._chain.account(address, min_slot=min_slot)
        if info is not None:
            await self._compare(session, info)

    async def _compare(self, session: SessionRecord, info: AccountInfo | None) -> None:
        if info is None:
            await self._missing(session)
            return
        try:
            account = read_session(info, self._program_id)
        except ForeignAccountError as error:
            _log.error("session_account_foreign", session=session.session_id, reason=str(error))
            return
        now = self._clock.now()
        if account.status is ChainStatus.CLOSING:
            await self._ledger.mark_closing_on_chain(session.session_id, account.closure_started_at, now)
            _log.info("payer_asked_to_close", session=session.session_id)
        elif account.status is ChainStatus.CLOSED:
            await self._ledger.begin_close(session.session_id, "it was closed on chain", now)
        if account.deposit > session.deposit:
            await self._top_up(session, account.deposit)
        if account.deposit < session.deposit:
            self._view.freeze(session.session_id)
            _log.error("session_deposit_shrank", session=session.session_id, seen=account.deposit)
        elif account.settled > session.spent:
            # Books from an old backup: what is sold on such a session can never be settled.
            self._view.freeze(session.session_id)
            _log.error("books_behind_chain", session=session.session_id, settled=account.settled, spent=session.spent)
        else:
            self._view.thaw(session.session_id)

    async def _top_up(self, session: SessionRecord, deposit: int) -> None:
        # Read again at the level from which so much counts: a fork may still take this one back (F06).
        address = Pubkey.from_string(session.session_id)
        level = await self._exposure.level(address, deposit, session.offer_id)
        account = await session_account(self._chain, address, program_id=self._program_id, commitment=level)
        if account is not None:
            await self._ledger.update_deposit(session.session_id, account.deposit, self._clock.now())

    async def _missing(self, session: SessionRecord) -> None:
        """Serve nothing meanwhile; close on a final removal, or on a finalized chain that never had it (F06).

        Less is no reason to close: a node that lags misses accounts as well.
        """
        address = Pubkey.from_string(session.session_id)
        now = self._clock.now()
        if await find_removal(self._chain, address, self._program_id) is not None:
            await self._ledger.begin_close(session.session_id, "its account was removed on chain", now)
            self._view.thaw(session.session_id)
            return
        self._view.freeze(session.session_id)
        _log.error("session_account_missing", session=session.session_id)
        if now - session.created_at < _FINAL_SECONDS:
            return
        level = max(0, self._view.slot - _FINAL_SLOTS)
        if await self._chain.account(address, commitment=Commitment.FINALIZED, min_slot=level) is None:
            await self._ledger.begin_close(session.session_id, "its account vanished from the chain", now)
            self._view.thaw(session.session_id)
