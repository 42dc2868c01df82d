"""A session's life as its transactions tell it, in whatever order they are read: figures only grow, facts fill in.

So a history may be read newest first, in pages, twice, or with holes; what was not seen stays None, that is unknown.
"""

from enum import StrEnum
from typing import Final

import msgspec

from retainer.audit.deeds import Asked, Deed
from retainer.protocol.encoding import Json
from retainer.protocol.events import (
    CloseRequested,
    Event,
    SessionClosed,
    SessionOpened,
    SessionReclaimed,
    SessionSettled,
    SessionToppedUp,
    SessionWithdrawn,
)
from retainer.protocol.instruction_data import CloseData, OpenData, OpenWithTermsData, WithdrawData
from retainer.protocol.session import ChainStatus, SessionAccount


class End(StrEnum):
    """How a session ended; none while it goes on."""

    CLOSED = "closed"  # by the provider: settled and refunded
    WITHDRAWN = "withdrawn"  # past the provider, after the deadline
    GONE = "gone"  # its account is no more, and no transaction that removed it was found


class Life(msgspec.Struct):
    """One session. Amounts in base units, times in Unix seconds; keys base58, hashes hexadecimal; None is unknown."""

    session: str
    payer: str | None = None
    payee: str | None = None
    operator: str | None = None
    mint: str | None = None
    authorized_signer: str | None = None
    rent_payer: str | None = None
    escrow: str | None = None
    price_per_unit: int | None = None
    sla_hash: str | None = None
    expires_at: int | None = None
    grace_period: int | None = None
    salt: int | None = None
    open_slot: int | None = None
    opened_at: int | None = None
    opening: str | None = None  # signatures
    deposit: int = 0
    top_ups: list[str] = []
    settled: int = 0
    settles: list[str] = []
    charged_units: int = 0
    closure_started_at: int | None = None
    end: End | None = None
    ended_at: int | None = None
    ending: str | None = None
    submitter: str | None = None  # who closed it
    refunded: int | None = None
    usage_root: str | None = None
    live: bool = False  # its account exists

    def tell(self, deed: Deed) -> None:
        """Take in one deed."""
        if deed.asked is not None:
            self._asked(deed, deed.asked)
        if deed.event is not None:
            self._happened(deed, deed.event)

    def stand(self, account: SessionAccount) -> None:
        """Take in the account as it stands."""
        for name in ("payer", "payee", "operator", "mint", "authorized_signer", "rent_payer", "escrow"):
            setattr(self, name, str(getattr(account, name)))
        for name in ("price_per_unit", "expires_at", "grace_period", "salt", "open_slot", "opened_at"):
            setattr(self, name, getattr(account, name))
        self.sla_hash, self.deposit = account.sla_hash.hex(), max(self.deposit, account.deposit)
        self._settled(account.settled, account.charged_units)
        if account.status is ChainStatus.CLOSING:
            self.closure_started_at = account.closure_started_at

    def deadline(self) -> int | None:
        """From when anyone may withdraw for the payer; None while nothing sets it, or where it is not known."""
        starts = [start for start in (self.closure_started_at, self.expires_at) if start]
        return min(starts) + self.grace_period if starts and self.grace_period is not None else None

    def _happened(self, deed: Deed, event: Event) -> None:
        match event:
            case SessionOpened():
                for name in ("payer", "payee", "operator", "mint", "authorized_signer"):
                    setattr(self, name, str(getattr(event, name)))
                self.price_per_unit, self.expires_at = event.price_per_unit, event.expires_at
                self.sla_hash, self.opened_at, self.opening = event.sla_hash.hex(), event.opened_at, deed.signature
                self.deposit = max(self.deposit, event.deposit)
            case SessionToppedUp():
                self.deposit = max(self.deposit, event.deposit)
                self.top_ups = _with(self.top_ups, deed.signature)
            case SessionSettled():
                self.settles = _with(self.settles, deed.signature)
                self._settled(event.settled, event.charged_units)
            case SessionClosed():
                self.payer, self.payee, self.mint = str(event.payer), str(event.payee), str(event.mint)
                self.opened_at, self.deposit = event.opened_at, event.deposit
                self.refunded, self.usage_root = event.refunded, event.usage_root.hex()
                self._settled(event.settled, event.charged_units)
                self._ended(deed, End.CLOSED)
            case CloseRequested():
                self.closure_started_at = event.closure_started_at
            case SessionWithdrawn():
                self.refunded = event.refunded
                self._settled(event.settled, 0)
                self._ended(deed, End.WITHDRAWN)
            case SessionReclaimed():
                pass  # rent only: the money was paid out before

    def _asked(self, deed: Deed, asked: Asked) -> None:
        """What only the instruction tells, and what its event would have told, had the logs not been cut."""
        match asked.data:
            case OpenData() | OpenWithTermsData() as data:
                self.salt, self.open_slot, self.grace_period = data.salt, data.open_slot, data.grace_period
                self.deposit, self.opening = max(self.deposit, data.deposit), deed.signature
                for name in ("payer", "payee", "mint", "authorized_signer", "rent_payer", "escrow"):
                    setattr(self, name, str(asked.accounts[name]))
                self.operator = str(asked.accounts.get("operator", asked.accounts["payee"]))
            case CloseData() as data:
                self.usage_root, self.submitter = data.usage_root.hex(), str(asked.accounts["submitter"])
                self._settled(data.amount, data.charged_units)
                self._ended(deed, End.CLOSED)
            case WithdrawData() if deed.event is None and self.end is None:
                self._ended(deed, End.WITHDRAWN)

    def to_json(self) -> dict[str, Json]:
        """What is known, amounts as decimal strings of base units."""
        amounts = ("deposit", "settled", "refunded", "price_per_unit", "charged_units", "salt")
        told: dict[str, Json] = msgspec.to_builtins(self)
        return told | {name: str(told[name]) for name in amounts if told[name] is not None}

    def _settled(self, amount: int, units: int) -> None:
        self.settled, self.charged_units = max(self.settled, amount), max(self.charged_units, units)

    def _ended(self, deed: Deed, end: End) -> None:
        self.end, self.ended_at, self.ending, self.live = end, deed.at, deed.signature, False


def _with(signatures: list[str], another: str) -> list[str]:
    return signatures if another in signatures else [*signatures, another]


DEED_WORDS: Final = {
    "open": "opened",
    "open_with_terms": "opened with terms",
    "top_up": "topped up",
    "request_close": "the payer asked to close",
    "settle": "paid out in part",
    "close": "settled and refunded",
    "withdraw": "withdrawn",
}
