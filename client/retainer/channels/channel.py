"""One session as the client keeps it: the offer it was opened for, the proof that spends it, and the books."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import httpx
from solders.pubkey import Pubkey

from retainer.channels.book import Book
from retainer.flows.offers import Offer, Scope, origin_of
from retainer.protocol.actions import Action, CloseAction, UseAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import SessionProof
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.encoding import Json
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import SessionState

_USABLE: Final = frozenset({SessionState.PENDING, SessionState.ACTIVE})


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a session ended on chain: the transaction that removed it, and what it paid; base units."""

    signature: str
    settled: BaseUnits
    refunded: BaseUnits


@dataclass(frozen=True, slots=True)
class PendingTopUp:
    """A signed top-up whose outcome is open: its ``Authorization`` text, and what tells whether it can still land."""

    credential: str
    signature: str
    last_valid_block_height: int
    amount: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A session of this client. Immutable: each change is a new value that goes through the store.

    ``opening`` is the ``Authorization`` text that opened it, kept until the service has confirmed the deposit, so that
    an interrupted opening is repeated rather than paid twice; ``transaction`` likewise, where this client sends it.
    ``top_up`` is one whose outcome is open.
    ``receipt`` is the one with the highest total: what the operator has signed that it may settle. ``dispute`` says why
    nothing may be spent from it. ``extra`` is what a newer version has written down besides, kept for it.
    """

    address: Pubkey
    offer: Offer
    proof: SessionProof
    deposit: BaseUnits
    creation_signature: str
    created_at: int
    state: SessionState = SessionState.PENDING
    opening: str | None = None
    transaction: bytes | None = None
    top_up: PendingTopUp | None = None
    book: Book = field(default_factory=Book)
    receipt: Receipt | None = None
    dispute: str | None = None
    settlement: Settlement | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def session_id(self) -> str:
        """The address in base58: the id everywhere."""
        return str(self.address)

    @property
    def payer(self) -> Pubkey:
        """Whose deposit it is."""
        return self.proof.payer

    @property
    def scope(self) -> Scope:
        """What it can pay for."""
        return self.offer.scope

    @property
    def price(self) -> BaseUnits:
        """The most that one request may cost, as agreed when the session was opened."""
        return self.offer.request.amount

    @property
    def most(self) -> int:
        """The deposit as it may already be on chain, base units: a top-up under way counts."""
        return self.deposit + (self.top_up.amount if self.top_up else 0)

    @property
    def free(self) -> int:
        """What is left for further requests in base units, when those without an answer are all charged."""
        return self.deposit - self.book.spent - len(self.book.outstanding) * self.price

    @property
    def usable(self) -> bool:
        """Whether a request may be paid from it, as far as this client knows."""
        return self.state in _USABLE and self.dispute is None

    def pays_at(self, url: httpx.URL) -> bool:
        """Whether its proof may be shown there: only to the host that it was made for (F29)."""
        return origin_of(url) == self.scope.origin

    def use_header(self) -> str:
        """The ``Authorization`` text that pays a request: a bearer token."""
        return self._header(UseAction(self.address, self.proof))

    def close_header(self) -> str:
        """The ``Authorization`` text that asks for settlement and refund."""
        return self._header(CloseAction(self.address, authentication=self.proof))

    def _header(self, action: Action) -> str:
        return authorization_header(Credential(self.offer.challenge, action))

    def opened(self) -> "Channel":
        """The service has confirmed the deposit; a session that has gone on since stays as it is."""
        return self._moved(SessionState.ACTIVE) if self.state is SessionState.PENDING else self

    def closing(self) -> "Channel":
        """Nothing more is spent from it."""
        return self._moved(SessionState.CLOSING)

    def abandoned(self) -> "Channel":
        """The deposit never came to be."""
        return self._moved(SessionState.ABANDONED)

    def settled(self, settlement: Settlement) -> "Channel":
        """It is gone from the chain."""
        return replace(self._moved(SessionState.REFUNDED), settlement=settlement)

    def topping_up(self, pending: PendingTopUp | None) -> "Channel":
        """A top-up is under way, or none any more."""
        return replace(self, top_up=pending)

    def topped_up(self, deposit: BaseUnits) -> "Channel":
        """No top-up is under way any more, and the chain says that the deposit is this."""
        return replace(self, top_up=None, deposit=max(self.deposit, deposit))

    def disputed(self, reason: str) -> "Channel":
        """The service has contradicted itself; the first contradiction stands."""
        return replace(self, dispute=self.dispute or reason)

    def _moved(self, state: SessionState) -> "Channel":
        return replace(self, state=state, opening=None, transaction=None)

    def with_book(self, book: Book) -> "Channel":
        """The same session after an entry in its books."""
        return replace(self, book=book)

    def receipted(self, book: Book, receipt: Receipt) -> "Channel":
        """The same session after a receipt was entered in its books."""
        newest = self.receipt is None or receipt.spent >= self.receipt.spent
        return replace(self, book=book, receipt=receipt if newest else self.receipt)
