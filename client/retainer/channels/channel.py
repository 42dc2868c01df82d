"""One session as the client keeps it: the offer it was opened for, the proof that spends it, and the books."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import httpx
from solders.pubkey import Pubkey

from retainer.channels.book import Book
from retainer.channels.scope import ChannelScope
from retainer.channels.spending import Marks, marked
from retainer.flows.offers import Offer, origin_of
from retainer.protocol.actions import Action, CloseAction, UseAction, VoucherAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import SessionProof
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.encoding import Json
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import SessionState
from retainer.protocol.vouchers import SignedVoucher

Authority: TypeAlias = SessionProof | SignedVoucher
"""What pays requests: the payer's proof (metered mode), or the highest voucher signed so far (voucher mode)."""

_USABLE: Final = frozenset({SessionState.PENDING, SessionState.ACTIVE})


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a session ended on chain: the transaction that removed it, and what it paid; base units.

    Without a signature nothing was left to send back, and the provider held the money itself.
    """

    signature: str
    settled: BaseUnits
    refunded: BaseUnits


@dataclass(frozen=True, slots=True)
class PendingTopUp:
    """A signed top-up whose outcome is open: its ``Authorization`` text, and what tells whether it can still land.

    A sponsored one has no ``signature`` yet. It has landed when the account's deposit is ``total``.
    """

    credential: str
    signature: str | None
    last_valid_block_height: int
    amount: BaseUnits
    total: BaseUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A session of this client. Immutable: each change is a new value that goes through the store.

    ``opening`` is the ``Authorization`` text that opened it, kept until the service has confirmed the deposit, so that
    an interrupted opening is repeated rather than paid twice; ``transaction`` likewise, where this client sends it.
    ``creation_signature`` is unknown until a sponsored opening has landed. ``top_up`` is one whose outcome is open.
    ``receipt`` is the one with the highest total: what the operator has signed that it may settle. ``dispute`` says why
    nothing may be spent from it. ``spent_by`` says when it was spent, for the caller's caps.
    ``extra`` is what a newer version has written down besides, kept
    for it.
    """

    address: Pubkey
    offer: Offer
    payer: Pubkey
    authority: Authority
    deposit: BaseUnits
    created_at: int
    creation_signature: str | None = None
    state: SessionState = SessionState.PENDING
    opening: str | None = None
    transaction: bytes | None = None
    top_up: PendingTopUp | None = None
    book: Book = field(default_factory=Book)
    receipt: Receipt | None = None
    dispute: str | None = None
    settlement: Settlement | None = None
    spent_by: Marks = ()
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def session_id(self) -> str:
        """The address in base58: the id everywhere."""
        return str(self.address)

    @property
    def scope(self) -> ChannelScope:
        """What it can pay for."""
        return replace(self.offer.scope, payer=self.payer)

    @property
    def price(self) -> BaseUnits:
        """What a unit costs, and so does a request whose route costs one, as agreed when the session was opened."""
        return self.offer.request.amount

    @property
    def most(self) -> int:
        """The deposit as it may already be on chain, base units: a top-up under way counts."""
        return self.deposit + (self.top_up.amount if self.top_up else 0)

    @property
    def free(self) -> int:
        """What is left for further requests in base units, when those without an answer are all charged."""
        # A receipt that has overtaken others brings a total which covers requests still without an answer here.
        return self.deposit - max(self.book.spent, self.book.charged + self.book.exposed * self.price)

    @property
    def signed(self) -> int:
        """What the payer's vouchers authorize in all, base units; 0 in metered mode, which has none."""
        return self.authority.voucher.cumulative if isinstance(self.authority, SignedVoucher) else 0

    @property
    def ceiling(self) -> int:
        """What the operator may settle at most, base units: what was signed, or in metered mode all of it."""
        return self.signed if isinstance(self.authority, SignedVoucher) else self.most

    @property
    def usable(self) -> bool:
        """Whether a request may be paid from it, as far as this client knows."""
        return self.state in _USABLE and self.dispute is None

    def pays_at(self, url: httpx.URL) -> bool:
        """Whether its proof may be shown there: only to the host that it was made for (F29)."""
        return origin_of(url) == self.scope.origin

    def pay_header(self) -> str:
        """The ``Authorization`` text that pays a request: a bearer token, in voucher mode for what is signed."""
        if isinstance(self.authority, SignedVoucher):
            return self._header(VoucherAction(self.address, self.authority))
        return self._header(UseAction(self.address, self.authority))

    def close_header(self) -> str:
        """The ``Authorization`` text that asks for settlement and refund."""
        if isinstance(self.authority, SignedVoucher):
            return self._header(CloseAction(self.address, voucher=self.authority))
        return self._header(CloseAction(self.address, authentication=self.authority))

    def _header(self, action: Action) -> str:
        return authorization_header(Credential(self.offer.challenge, action))

    def opened(self, signature: str | None = None) -> "Channel":
        """The service has confirmed the deposit, by this transaction; one that has gone on since stays as it is."""
        state = SessionState.ACTIVE if self.state is SessionState.PENDING else self.state
        return replace(self._moved(state), creation_signature=self.creation_signature or signature)

    def closing(self) -> "Channel":
        """Nothing more is spent from it."""
        return self._moved(SessionState.CLOSING)

    def abandoned(self) -> "Channel":
        """The deposit never came to be."""
        return self._moved(SessionState.ABANDONED)

    def settled(self, settlement: Settlement, *, at: int) -> "Channel":
        """It is gone from the chain, which became known ``at`` (Unix seconds)."""
        spent_by = marked(self.spent_by, at, settlement.settled, last=True)
        return replace(self._moved(SessionState.REFUNDED), settlement=settlement, spent_by=spent_by)

    def topping_up(self, pending: PendingTopUp) -> "Channel":
        """A top-up is signed and under way."""
        return replace(self, top_up=pending)

    def not_topped_up(self) -> "Channel":
        """The top-up under way came to nothing."""
        return replace(self, top_up=None)

    def topped_up(self, deposit: BaseUnits) -> "Channel":
        """No top-up is under way any more, and the chain says that the deposit is this."""
        return replace(self, top_up=None, deposit=max(self.deposit, deposit))

    def disputed(self, reason: str) -> "Channel":
        """The service has contradicted itself; the first contradiction stands."""
        return replace(self, dispute=self.dispute or reason)

    def _moved(self, state: SessionState) -> "Channel":
        return replace(self, state=state, opening=None, transaction=None)

    def authorized(self, sign: Callable[[BaseUnits], SignedVoucher]) -> "Channel":
        """In voucher mode, covered for all requests noted in its books: signed anew only where what is signed does not.

        What is signed and not charged, the agent's whole risk, is thus never more than the requests without an answer,
        and one that was answered free leaves room for the next.
        """
        needed = min(self.book.spent + self.book.exposed * self.price, self.deposit)
        if not isinstance(self.authority, SignedVoucher) or needed <= self.signed:
            return self
        return replace(self, authority=sign(BaseUnits(needed)))

    def dated(self, at: int) -> "Channel":
        """The same session, with what it had spent ``at`` (Unix seconds)."""
        return replace(self, spent_by=marked(self.spent_by, at, self.book.spent))

    def with_book(self, book: Book) -> "Channel":
        """The same session after an entry in its books."""
        return replace(self, book=book)

    def receipted(self, book: Book, receipt: Receipt) -> "Channel":
        """The same session after a receipt was entered in its books."""
        newest = self.receipt is None or receipt.spent >= self.receipt.spent
        return replace(self, book=book, receipt=receipt if newest else self.receipt)
