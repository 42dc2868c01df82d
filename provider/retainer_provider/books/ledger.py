"""The ledger: who deposited what, what is reserved and spent, and what must still be settled.

Every method is one transaction. Money is guarded inside the write itself, so that no interleaving of
callers can overspend a deposit; expected alternatives are outcomes, exceptions mean that nothing is known.
Times are unix seconds; amounts are base units below 2**63, which ``NewSession`` checks.
"""

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from retainer.protocol.errors import RetainerError
from retainer.protocol.session import SessionAccount, SessionState
from retainer.protocol.usage import UsageEntry
from retainer_provider.books.outcomes import (
    AbandonOutcome,
    ActivateOutcome,
    AdmitResult,
    AdoptOutcome,
    ClaimOutcome,
    CloseBegin,
    CommitResult,
    CreditOutcome,
    DeliverOutcome,
    DepositOutcome,
    ExpectOutcome,
    PlanOutcome,
    RecordOutcome,
    RelandOutcome,
    ReleaseOutcome,
    ReserveResult,
    SignedOutcome,
)
from retainer_provider.books.people import PeopleBook
from retainer_provider.books.records import (
    Adoption,
    Commit,
    CutStream,
    ExpectedTransfer,
    NewSession,
    Parties,
    Progress,
    Reservation,
    ReserveRequest,
    SessionRecord,
    Settlement,
    SettlementPlan,
    Tally,
)
from retainer_provider.books.steps import Books

CLOSED: Final = "the ledger is closed; open it again to go on"


class LedgerError(RetainerError):
    """The ledger could not be opened, or used as it was; the text says what to do."""


class LedgerUnavailableError(LedgerError):
    """The ledger takes no more money: it is closed, or its disk failed. Restart after looking at the disk."""


class LedgerInterruptedError(LedgerUnavailableError):
    """The ledger did not answer this time: nothing is known about the call, and it may be made again."""


class Ledger(Books, Protocol):
    """Durable books of one service. Any method may raise LedgerUnavailableError.

    Several processes may share one ledger: every outcome is then about what all of them did.
    """

    async def admit(self, new: NewSession) -> AdmitResult:
        """Write down a session that is about to be opened, as PENDING. An id once known stays known (F01)."""
        ...

    async def activate(
        self, session_id: str, account: SessionAccount, signature: str | None, now: int
    ) -> ActivateOutcome:
        """PENDING -> ACTIVE with the deposit and terms that the account itself states."""
        ...

    async def adopt(self, adoption: Adoption) -> AdoptOutcome:
        """Enter a lost session as CLOSING, to be settled for what is proven; never over what the books know.

        Nothing more is sold from it: the answers that its keys would replay are lost.
        """
        ...

    async def abandon(self, session_id: str, reason: str, now: int) -> AbandonOutcome:
        """PENDING -> ABANDONED: its deposit never came."""
        ...

    async def session(self, session_id: str) -> SessionRecord | None:
        """One session as last committed."""
        ...

    async def sessions(
        self,
        *,
        states: Collection[SessionState] | None = None,
        limit: int = 100,
        after: int = 0,
    ) -> Sequence[SessionRecord]:
        """Sessions in order of admission whose ``number`` is above ``after``; ``states`` are stored ones."""
        ...

    async def due(self, now: int, limit: int = 100) -> Sequence[SessionRecord]:
        """ACTIVE sessions that expired or idled out: those the sweeper closes, earliest deadline first."""
        ...

    async def reserve(self, request: ReserveRequest) -> ReserveResult:
        """Hold a request's price. The look-up by key comes first, then the state, then the balance.

        In voucher mode the balance is what the request's voucher authorizes; it is durable when this returns.
        """
        ...

    async def commit(self, commit: Commit) -> CommitResult:
        """Charge (or not), append the usage entry and keep the answer, in one durable transaction.

        LOST and FREE_EXHAUSTED mean that nothing was written and the answer must not leave. What ``commit.finish``
        raises is raised here, with nothing written and the reservation still held.
        """
        ...

    async def release(self, reservation: Reservation) -> ReleaseOutcome:
        """Give a reservation back uncharged; twice is harmless.

        A stream of which something has left is CUT instead.
        """
        ...

    async def deliver(self, reservation: Reservation, progress: Progress) -> DeliverOutcome:
        """Write down what of a stream is about to leave, durably: from here on no crash releases its reservation.

        It is charged by ``commit`` when the stream ends, or by whoever finds it among the ``cut_streams``.
        """
        ...

    async def cut_streams(self, limit: int = 100) -> Sequence[CutStream]:
        """Streams that nobody sends any more, not booked yet: for the caller to ``commit`` as far as they came."""
        ...

    async def begin_close(self, session_id: str, reason: str, now: int) -> CloseBegin:
        """ACTIVE -> CLOSING, durably: from here on nothing is reserved. Those in flight may still commit."""
        ...

    async def drained(self, session_id: str) -> None:
        """Return once no reservation of the session is in flight."""
        ...

    async def update_deposit(self, session_id: str, deposit: int, now: int) -> DepositOutcome:
        """Take over the account's deposit after a top-up. It never goes down, however often or late told (F02)."""
        ...

    async def reland(self, session_id: str, opened_at: int) -> RelandOutcome:
        """A CLOSING session whose opening a fork took back has landed again, at another time (F06)."""
        ...

    async def expect_transfer(self, session_id: str, transfer: ExpectedTransfer) -> ExpectOutcome:
        """Register a custodial deposit before it is sent; its signature is one session's for ever (F01).

        Until it is credited or dropped, the session's settlement is not planned.
        """
        ...

    async def credit_transfer(self, session_id: str, signature: str, now: int) -> CreditOutcome:
        """Count an expected transfer that is final, once: PENDING -> ACTIVE with it, or the deposit grows by it."""
        ...

    async def drop_transfer(self, signature: str) -> None:
        """An expected transfer can never land, or landed without effect."""
        ...

    async def expected_transfers(self, session_id: str) -> Sequence[ExpectedTransfer]:
        """The session's transfers whose outcome is open."""
        ...

    async def mark_closing_on_chain(self, session_id: str, started_at: int, now: int) -> CloseBegin:
        """The payer asked for its exit on chain: like ``begin_close``, and the deadline is remembered."""
        ...

    async def closing(self) -> Sequence[str]:
        """Ids of the CLOSING sessions, which all need settling, earliest deadline first (F16)."""
        ...

    async def claim_settlement(self, session_id: str) -> ClaimOutcome:
        """Take a CLOSING session's settlement for this process, which keeps it for as long as it lives (F14)."""
        ...

    async def plan_settlement(self, session_id: str, plan: SettlementPlan, now: int) -> PlanOutcome:
        """Store what ``close`` will say, once: CLOSING and drained only. An unsigned plan is replaced."""
        ...

    async def store_signed(
        self, session_id: str, raw: bytes, signature: str, last_valid_block_height: int
    ) -> SignedOutcome:
        """Keep the signed transaction before it is sent (F13); replaces one that is known to be dead.

        NO_PLAN, also when another process has claimed the settlement, means that it must not be sent.
        """
        ...

    async def settlement(self, session_id: str) -> Settlement | None:
        """The session's settlement, live or done."""
        ...

    async def record_settled(
        self, session_id: str, signature: str | None, settled: int, refunded: int, now: int
    ) -> RecordOutcome:
        """CLOSING -> REFUNDED with what the chain did. ``settled + refunded`` must be the whole deposit.

        Without ``signature`` nothing had to move: a custodial session that is spent to the last unit.
        """
        ...

    async def left_behind(self, limit: int = 100) -> Sequence[SessionRecord]:
        """REFUNDED sessions of vouchers whose empty account may still lie on chain, oldest first."""
        ...

    async def account_gone(self, session_id: str) -> None:
        """The account of a session that was left behind is removed."""
        ...

    async def parties(self) -> Sequence[Parties]:
        """Whose the sessions are that are not at their end: each combination once, however many there are."""
        ...

    async def tally(self, now: int, alarm_before: int | None = None) -> Sequence[Tally]:
        """Counts and sums over all sessions, for monitoring: one pass over the books, so not for every request.

        ``alarm_before`` is as for ``SessionRecord.urgent``.
        """
        ...

    async def usage(self, session_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[UsageEntry]:
        """Entries of the usage hash chain with a sequence above ``after``."""
        ...

    async def old_logs(self, closed_before: int, limit: int = 100) -> Sequence[str]:
        """Ids of REFUNDED sessions that ended before then and whose usage log is still in the books, oldest first."""
        ...

    async def forget_log(self, session_id: str, usage_root: bytes) -> int:
        """Drop a REFUNDED session's usage log, if ``usage_root`` is its head; how many entries went."""
        ...

    async def purge_answers(self, closed_before: int, limit: int = 1000) -> int:
        """Drop stored answers of sessions closed before then, at most ``limit``; returns how many."""
        ...

    @property
    def people(self) -> PeopleBook:
        """What is kept for people in browsers."""
        ...

    @property
    def failure(self) -> str | None:
        """Why the ledger takes no more money, as a sentence; None while it does."""
        ...

    async def aclose(self) -> None:
        """Finish what is queued and let go of the database."""
        ...
