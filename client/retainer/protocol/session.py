"""A session: its account as the chain holds it, and its states as users see them."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.pda import SessionSeeds


class ChainStatus(IntEnum):
    """The status byte of the account; a closed session that no longer exists has none."""

    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class EscrowKind(IntEnum):
    """What holds the tokens: an associated token account (stock ``open``) or the program's own vault."""

    ATA = 0
    VAULT = 1


class VoucherSigner(StrEnum):
    """Who authorizes amounts: the agent by vouchers, or the operator by metering."""

    CLIENT = "client"
    OPERATOR = "operator"


class SessionState(StrEnum):
    """A session as users see it, from the deposit being awaited to the money being back."""

    PENDING = "pending"
    ABANDONED = "abandoned"
    ACTIVE = "active"
    DEPLETED = "depleted"
    EXPIRED = "expired"
    CLOSING = "closing"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Transition:
    """An edge of the state machine and the guard that opens it."""

    source: SessionState
    target: SessionState
    guard: str


TRANSITIONS: Final = (
    Transition(SessionState.PENDING, SessionState.ACTIVE, "deposit confirmed"),
    Transition(SessionState.PENDING, SessionState.ABANDONED, "deposit failed or never landed"),
    Transition(SessionState.ACTIVE, SessionState.DEPLETED, "cannot pay one more unit"),
    Transition(SessionState.ACTIVE, SessionState.EXPIRED, "expires_at reached"),
    Transition(SessionState.ACTIVE, SessionState.CLOSING, "close asked by either side"),
    Transition(SessionState.DEPLETED, SessionState.ACTIVE, "top-up confirmed"),
    Transition(SessionState.DEPLETED, SessionState.EXPIRED, "expires_at reached"),
    Transition(SessionState.DEPLETED, SessionState.CLOSING, "close asked by either side"),
    Transition(SessionState.EXPIRED, SessionState.CLOSING, "close asked by either side"),
    Transition(SessionState.CLOSING, SessionState.REFUNDED, "settlement or withdrawal final"),
)


def can_move(source: SessionState, target: SessionState) -> bool:
    """Whether the table has the edge; staying is not moving."""
    return any(edge.source is source and edge.target is target for edge in TRANSITIONS)


@dataclass(frozen=True, slots=True)
class SessionAccount:
    """The session account: its fields, never token balances, are the authority.

    Times are Unix seconds, amounts base units. ``closure_started_at`` says something only while closing, and an
    ``expires_at`` of 0 means never.
    """

    version: int
    bump: int
    status: ChainStatus
    escrow_kind: EscrowKind
    decimals: int
    payer: Pubkey
    payee: Pubkey
    operator: Pubkey
    authorized_signer: Pubkey
    rent_payer: Pubkey
    mint: Pubkey
    escrow: Pubkey
    salt: int
    open_slot: int
    deposit: BaseUnits
    settled: BaseUnits
    charged_units: int
    grace_period: int
    opened_at: int
    closure_started_at: int
    price_per_unit: BaseUnits
    expires_at: int
    sla_hash: bytes

    @property
    def voucher_signer(self) -> VoucherSigner:
        """Metered when the operator is the authorized signer, else by vouchers."""
        return VoucherSigner.OPERATOR if self.authorized_signer == self.operator else VoucherSigner.CLIENT

    @property
    def seeds(self) -> SessionSeeds:
        """What the account's address must re-derive from."""
        return SessionSeeds(self.payer, self.payee, self.mint, self.authorized_signer, self.salt, self.open_slot)

    @property
    def refundable(self) -> BaseUnits:
        """What a withdrawal at this moment would give back."""
        return BaseUnits(self.deposit - self.settled)

    def deadline(self) -> int | None:
        """From when nothing raises ``settled`` and anyone may withdraw for the payer; None while nothing sets it."""
        closure = [self.closure_started_at] if self.status is ChainStatus.CLOSING else []
        expiry = [self.expires_at] if self.expires_at else []
        return min((start + self.grace_period for start in closure + expiry), default=None)


def user_state(account: SessionAccount, *, spent: int, price: int, now: int) -> SessionState:
    """The state of a confirmed session; ``spent`` and ``price`` in base units, ``now`` in Unix seconds.

    Closing outranks expiry, expiry outranks depletion: the later state in the table is the one that limits the user.
    """
    if account.status is ChainStatus.CLOSED:
        return SessionState.REFUNDED
    if account.status is ChainStatus.CLOSING:
        return SessionState.CLOSING
    if account.expires_at and now >= account.expires_at:
        return SessionState.EXPIRED
    # A variable price (0) still needs one base unit to charge anything.
    return SessionState.ACTIVE if account.deposit - spent >= max(price, 1) else SessionState.DEPLETED
