"""Invoices on the wire: made, looked at, signed, posted; in a browser's wallet or on a phone (Solana Pay)."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from solders.pubkey import Pubkey

from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer.protocol.tokens import token_symbol
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.people import Invoice, InvoiceKind
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.people.access import unknown_invoice
from retainer_provider.people.border import encode_transaction
from retainer_provider.people.invoices import InvoiceDesk
from retainer_provider.people.means import Means
from retainer_provider.people.storefront import NO_SOLANA_PAY
from retainer_provider.people.views import invoice_view
from retainer_provider.sessions.refusals import RefusedError, refuse

ICON: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="14" fill="#14532d"/>'
    b'<path d="M20 44V20h14a8 8 0 0 1 0 16H26l14 8" fill="none" stroke="#fff" stroke-width="5" '
    b'stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


class Funding:
    """Says of an invoice what a page needs to have it paid. `public_url` is what phones reach the service at."""

    def __init__(
        self,
        *,
        desk: InvoiceDesk,
        means: Means,
        identity: Identity,
        offers: Mapping[str, Offer],
        ledger: Ledger,
        clock: Clock,
        public_api: str | None,
    ) -> None:
        self._desk = desk
        self._means = means
        self._identity = identity
        self._offers = offers
        self._ledger = ledger
        self._clock = clock
        self._public_api = public_api

    async def open(self, offer_id: str, amount: int, payer: Pubkey | None, caller: str) -> dict[str, Json]:
        """A new session's invoice, with its token."""
        offer = self._offers.get(offer_id)
        if offer is None:
            raise refuse(ProblemType.REQUEST_MALFORMED, f"There is no offer {offer_id[:40]!r}: see /offers.")
        if payer is not None:
            await self._require_means(payer, offer, amount, InvoiceKind.OPEN, sponsored=self._sponsored)
        invoice, token = await self._desk.open(offer, amount, caller)
        if payer is not None:
            invoice = await self._desk.name(invoice, payer)
        return {**await self.shown(invoice), "token": token}

    async def top_up(self, record: SessionRecord, amount: int, caller: str) -> dict[str, Json]:
        """A top-up's invoice, with the token that takes the place of the older ones."""
        invoice, token = await self._desk.top_up(record, amount, caller)
        return {**await self.shown(invoice), "token": token}

    async def looked_at(self, invoice: Invoice) -> dict[str, Json]:
        """The invoice after a look at the chain; as the books have it while the chain cannot be seen."""
        try:
            invoice = await self._desk.look(invoice)
        except ChainUnavailableError:
            invoice = await self._desk.reload(invoice.invoice_id)
        return await self.shown(invoice)

    async def named(self, invoice: Invoice, payer: Pubkey) -> dict[str, Json]:
        """The invoice with its wallet; one that cannot pay is not named, so that another one can."""
        await self._require_means_for(invoice, payer, sponsored=self._sponsored)
        return await self.shown(await self._desk.name(invoice, payer))

    async def taken(self, invoice: Invoice, raw: bytes) -> dict[str, Json]:
        """The invoice after its transaction was handed over."""
        try:
            return await self.shown(await self._desk.take(invoice, raw))
        except RefusedError as error:
            if error.refusal.problem is ProblemType.DEPOSIT_FAILED and invoice.payer is not None:
                await self._require_means_for(invoice, Pubkey.from_string(invoice.payer), sponsored=self._sponsored)
            raise

    async def shown(self, invoice: Invoice) -> dict[str, Json]:
        """An invoice with what its wallet signs."""
        sponsored = self._sponsored
        try:
            raw = await self._desk.transaction(invoice, sponsored=sponsored)
        except ChainUnavailableError:
            raw = None  # the next look has one
        pays = self._public_api is not None
        return {
            **invoice_view(invoice, self._decimals(invoice), self._clock.now()),
            "transaction": None if raw is None else encode_transaction(raw),
            "submit": "post" if sponsored else "wallet",
            "solanaPayUrl": f"solana:{quote(self._pay_url(invoice), safe='')}" if pays else None,
            "solanaPayReason": None if pays else NO_SOLANA_PAY,
        }

    def label(self) -> dict[str, Json]:
        """What a wallet shows before it asks for the transaction."""
        return {"label": self._identity.realm, "icon": f"{self._public_api or ''}/pay/icon.svg"}

    async def pay(self, invoice_id: str, payer: Pubkey) -> dict[str, Json]:
        """The transaction that a phone's wallet signs and sends itself, paying its fee."""
        invoice = await self.invoice(invoice_id)
        await self._require_means_for(invoice, payer, sponsored=False)
        invoice = await self._desk.name(invoice, payer)
        raw = await self._desk.transaction(invoice, sponsored=False)
        if raw is None:
            raise refuse(
                ProblemType.INVOICE_OVER, "This invoice is over, or a deposit for it was seen: look at the page."
            )
        offer = self._offers[invoice.offer_id]
        name = token_symbol(offer.mint) or "tokens"
        what = "Open a prepaid session" if invoice.kind is InvoiceKind.OPEN else "Top up your session"
        return {
            "transaction": encode_transaction(raw),
            "message": f"{what} with {format_amount(invoice.amount, offer.decimals)} {name}; what is left comes back",
        }

    async def invoice(self, invoice_id: str) -> Invoice:
        """An invoice for whoever was shown its code: enough to pay it, and for nothing else."""
        invoice = await self._ledger.people.invoice(invoice_id)
        if invoice is None:
            raise unknown_invoice()
        return invoice

    @property
    def _sponsored(self) -> bool:
        return self._identity.sponsor is not None

    async def _require_means_for(self, invoice: Invoice, payer: Pubkey, *, sponsored: bool) -> None:
        offer = self._offers.get(invoice.offer_id)
        if offer is not None and invoice.undecided and invoice.payer in (None, str(payer)):
            await self._require_means(payer, offer, invoice.amount, invoice.kind, sponsored=sponsored)

    async def _require_means(
        self, payer: Pubkey, offer: Offer, amount: int, kind: InvoiceKind, *, sponsored: bool
    ) -> None:
        try:
            short = await self._means.shortage(
                payer, offer, amount, opens=kind is InvoiceKind.OPEN, sponsored=sponsored
            )
        except ChainUnavailableError:
            return  # what cannot be seen keeps nobody from paying
        if short is not None:
            raise RefusedError(short)

    def _pay_url(self, invoice: Invoice) -> str:
        return f"{self._public_api}/pay/{invoice.invoice_id}"

    def _decimals(self, invoice: Invoice) -> int:
        offer = self._offers.get(invoice.offer_id)
        return 0 if offer is None else offer.decimals
