"""What the ledger keeps and is told: sessions, reservations, commits, answers, settlements."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import AmountError
from retainer.protocol.session import SessionAccount, SessionState, VoucherSigner
from retainer.protocol.usage import UsageEntry
from retainer.protocol.vouchers import SignedVoucher
from retainer_provider.books.meter import Charge

LEDGER_MAX = 2**63 - 1
"""Largest amount that every SQL database's integer holds; a deposit above it is refused at the door."""


URGENT_FRACTION = 3
"""Of the grace period: from the last such part on, a session that is not settled is an alarm."""

PAYER_ASKED = "the payer asked for it on chain"
"""Closing reason of a session whose payer sent ``request_close``."""

NOTHING = BaseUnits(0)


class Custody(StrEnum):
    """Who holds a session's money: the program's escrow, or in the custodial variant the provider itself."""

    ESCROW = "escrow"
    PROVIDER = "provider"


def ledger_amount(value: int) -> BaseUnits:
    """Check that the books can hold the amount, else AmountError."""
    if not 0 <= value <= LEDGER_MAX:
        raise AmountError(f"{value} base units are beyond the books: amounts lie between 0 and 2**63 - 1")
    return BaseUnits(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session to be opened, as offered and asked for; amounts in base units.

    ``deposit``, ``price`` and the like are what the challenge and the opening request state; the account on
    chain replaces them at activation. ``sla_json`` is the canonical JSON of the terms, empty for none.
    """

    session_id: str  # base58 of the session PDA
    offer_id: str
    challenge_id: str  # of the opening challenge, which every ``use`` echoes
    payer: Pubkey
    payee: Pubkey
    operator: Pubkey
    authorized_signer: Pubkey
    rent_payer: Pubkey
    mint: Pubkey
    decimals: int
    token_program: Pubkey
    escrow: Pubkey
    salt: int
    open_slot: int
    voucher_signer: VoucherSigner
    deposit: int
    price: int
    expires_at: int  # 0 = never
    grace_period: int
    sla_hash: bytes
    sla_json: str
    idle_timeout: int  # seconds, 0 = never
    max_free_answers: int | None
    creation_signature: str | None
    created_at: int
    custody: Custody = Custody.ESCROW

    def __post_init__(self) -> None:
        ledger_amount(self.deposit)
        ledger_amount(self.price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A session that the books had lost, as the chain has it, with what proofs say was spent, in base units.

    ``usage_root`` is the head of the usage log after ``sequence`` requests; the log itself is lost. ``account`` is an
    escrowed session's; a custodial one has none, and ``transfers`` are the deposits that its payee received.
    """

    new: NewSession
    account: SessionAccount | None
    spent: BaseUnits
    units_charged: int
    sequence: int
    usage_root: bytes
    voucher: SignedVoucher | None
    reason: str
    now: int
    transfers: "tuple[ExpectedTransfer, ...]" = ()


class SessionRecord(msgspec.Struct, frozen=True, gc=False):
    """A session as the books have it. ``state`` is stored: PENDING, ABANDONED, ACTIVE, CLOSING or REFUNDED.

    DEPLETED and EXPIRED depend on balance and time: ``state_at``. The fields are in the order in which stores select
    them, since a row becomes a record by position; everybody else names them.
    """

    number: int  # order of admission, from 1
    session_id: str
    offer_id: str
    challenge_id: str
    payer: Pubkey
    payee: Pubkey
    operator: Pubkey
    authorized_signer: Pubkey
    rent_payer: Pubkey
    mint: Pubkey
    decimals: int
    token_program: Pubkey
    escrow: Pubkey
    salt: int
    open_slot: int
    voucher_signer: VoucherSigner
    deposit: BaseUnits
    price: BaseUnits
    expires_at: int
    grace_period: int
    sla_hash: bytes
    sla_json: str
    idle_timeout: int
    max_free_answers: int | None
    creation_signature: str | None
    created_at: int
    state: SessionState
    opened_at: int  # of the account, 0 while PENDING
    closure_started_at: int  # of the payer's request_close, 0 = none
    spent: BaseUnits
    units_charged: int
    sequence: int  # requests metered so far
    free_answers: int
    usage_root: bytes
    last_activity_at: int
    closing_reason: str | None
    closed_at: int  # 0 = not yet
    settled: BaseUnits | None  # with REFUNDED only, as are the next two
    refund: BaseUnits | None
    settlement_signature: str | None
    accepted: BaseUnits = NOTHING  # voucher mode: the most that a voucher has authorized
    voucher: SignedVoucher | None = None  # that voucher
    custody: Custody = Custody.ESCROW
    reserved: BaseUnits = NOTHING  # what running requests hold, which no row says

    @property
    def authorized(self) -> BaseUnits:
        """What may be spent in all: what vouchers say where the agent signs them, else the whole deposit."""
        return self.accepted if self.voucher_signer is VoucherSigner.CLIENT else self.deposit

    @property
    def remaining(self) -> BaseUnits:
        """What is not spent, running requests not counted."""
        return BaseUnits(self.deposit - self.spent)

    @property
    def deadline(self) -> int | None:
        """Unix time from which the payer can withdraw and nothing can be settled any more."""
        starts = [at for at in (self.closure_started_at, self.expires_at) if at]
        return min(starts) + self.grace_period if starts else None

    def urgent(self, now: int, alarm_before: int | None = None) -> bool:
        """Whether so little time is left to settle that a person should look.

        That is ``alarm_before`` seconds to the deadline, by default a third of the grace period.
        """
        margin = self.grace_period // URGENT_FRACTION if alarm_before is None else alarm_before
        return self.deadline is not None and self.deadline - now < margin

    def state_at(self, now: int) -> SessionState:
        """The state that people see: an ACTIVE session may be EXPIRED, or DEPLETED (cannot pay one more unit)."""
        if self.state is not SessionState.ACTIVE:
            return self.state
        if self.expires_at and now >= self.expires_at:
            return SessionState.EXPIRED
        if self.remaining < max(self.price, 1):
            return SessionState.DEPLETED
        return SessionState.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """All sessions of one offer in one stored state; ``urgent`` of them are CLOSING with little time left.

    Amounts are sums in base units, for people to watch: rounded where they exceed 2**53.
    """

    offer_id: str
    state: SessionState
    sessions: int
    deposit: int
    reserved: int
    spent: int
    settled: int
    urgent: int


@dataclass(frozen=True, slots=True)
class Parties:
    """Whose some open sessions are, with the id of the one that was admitted first."""

    operator: Pubkey
    payee: Pubkey
    custody: Custody
    session_id: str


class StoredAnswer(msgspec.Struct, frozen=True, gc=False):
    """An answer kept for replay. ``body`` is None where it was over the caps: then only the receipt replays."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    receipt: str  # value of the Payment-Receipt header


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """How many bytes of bodies are kept for replay: of one answer, and of all of a session's together."""

    answer_bytes: int = 256 * 1024
    session_bytes: int = 16 * 1024 * 1024

    def room(self, kept: int) -> int:
        """The largest body still kept when ``kept`` bytes are."""
        return min(self.answer_bytes, self.session_bytes - kept)


class ReserveRequest(msgspec.Struct, frozen=True, gc=False):
    """``fingerprint`` is SHA-256 of method, target and body. Without ``key`` the request is its own, never replayed.

    ``voucher``, whose signature and signer the caller has checked, comes with every request in voucher mode.
    """

    session_id: str
    key: str | None
    fingerprint: bytes
    amount: int
    units: int
    now: int
    voucher: SignedVoucher | None = None


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """A price held for one running request. It lives as long as the process: a crash releases it, but for streams'.

    Where several processes share the books, ``epoch`` is the turn of the one that holds it, and fences off the others.
    """

    id: int
    session_id: str
    key: str | None
    fingerprint: bytes
    amount: BaseUnits
    units: int
    epoch: int = 0


class UsageDraft(msgspec.Struct, frozen=True, gc=False):
    """What was observed of a request; the ledger adds sequence, charge and running total."""

    timestamp_ms: int
    method: str
    target: str
    request_digest: str
    response_digest: str
    status: int
    latency_ms: int
    body_bytes: int
    schema_ok: bool | None = None


class CommitFacts(msgspec.Struct, frozen=True, gc=False):
    """The final numbers of a request, from which its receipt is made."""

    session: SessionRecord  # after the charge
    entry: UsageEntry
    usage_hash: bytes


class Commit(msgspec.Struct, frozen=True):
    """End of a request. ``finish`` makes the answer with its receipt inside the transaction.

    Where it is ``quick``, it waits for nobody, so that an event loop may call it: the key is in this process.
    """

    reservation: Reservation
    charge: Charge
    usage: UsageDraft
    finish: Callable[[CommitFacts], StoredAnswer]
    now: int
    quick: bool = False


class Progress(msgspec.Struct, frozen=True, gc=False):
    """A stream as it would be booked if nothing more of it left. ``headers`` are those it began with."""

    charge: Charge
    usage: UsageDraft
    headers: tuple[tuple[str, str], ...]


class CutStream(msgspec.Struct, frozen=True, gc=False):
    """A stream that ended with its process, or without being booked: what it holds, and how far it had come."""

    reservation: Reservation
    progress: Progress


@dataclass(frozen=True, slots=True)
class ExpectedTransfer:
    """A custodial deposit or top-up on its way: dead once the finalized chain is past the height without it."""

    signature: str
    amount: int
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class SettlementPlan:
    """The arguments of ``close``. ``amount + refund`` is the account's whole deposit, in base units."""

    amount: BaseUnits
    charged_units: int
    refund: BaseUnits
    usage_root: bytes
    opened_at: int


class SettlementStage(StrEnum):
    """How far a settlement is."""

    PLANNED = "planned"
    SIGNED = "signed"  # bytes are stored and may be on their way
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Settlement:
    """A session's way out of the books."""

    session_id: str
    stage: SettlementStage
    plan: SettlementPlan
    attempts: int  # transactions signed so far
    raw: bytes | None = field(repr=False)
    signature: str | None
    last_valid_block_height: int
    created_at: int
