"""Invoices: what somebody is asked to fund, and what became of it. A session is opened by the very engine of agents.

An invoice is written down before its wallet is asked to sign. It knows payer, salt and slot, hence the one address that
its deposit can be at: a tab that closes between signing and confirmation loses nothing, and a second transaction for
the same invoice fails on chain, since the address is taken.
"""

import secrets
from collections.abc import Mapping
from typing import Final

import structlog
from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment
from retainer.chain.errors import ForeignAccountError
from retainer.chain.sessions import session_account
from retainer.protocol.actions import TopUpAction
from retainer.protocol.amounts import BaseUnits, format_amount
from retainer.protocol.challenges import Challenge, challenge_header, parse_challenge_headers
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState, VoucherSigner
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.people import Invoice, InvoiceKind, InvoiceStage, NameOutcome, NewInvoice
from retainer_provider.books.records import SessionRecord
from retainer_provider.clock import Clock
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.people import tokens
from retainer_provider.people.access import unknown_invoice
from retainer_provider.people.transactions import open_instruction, opening_action, top_up_instruction, unsigned
from retainer_provider.rates import Throttle
from retainer_provider.sessions.holding import Holding
from retainer_provider.sessions.refusals import Refusal, RefusedError, refuse
from retainer_provider.sessions.top_ups import check_session
from retainer_provider.wire.challenger import Challenger

_log = structlog.get_logger(__name__)

_SALT_BITS: Final = 64
_INVOICE_BYTES: Final = 16
# Of invoices made without paying, by one address; and of looks at the chain for one invoice.
_MADE_PER_SECOND: Final = 2
_LOOKS_PER_SECOND: Final = 2
# The deposit may count yet, or the chain was not seen: no reason to give an invoice up.
_OPEN_PROBLEMS: Final = frozenset(
    {
        ProblemType.DEPOSIT_UNCONFIRMED,
        ProblemType.CHAIN_UNAVAILABLE,
        ProblemType.SERVICE_UNAVAILABLE,
        ProblemType.REQUEST_IN_FLIGHT,
    }
)


class InvoiceDesk:
    """Makes invoices, hands out what their wallets sign, and finds what they pay."""

    def __init__(
        self,
        *,
        identity: Identity,
        offers: Mapping[str, Offer],
        challenger: Challenger,
        holding: Holding,
        chain: Chain,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._offers = offers
        self._challenger = challenger
        self._holding = holding
        self._chain = chain
        self._ledger = ledger
        self._clock = clock
        self._made = Throttle(clock, _MADE_PER_SECOND)
        self._looks = Throttle(clock, _LOOKS_PER_SECOND)

    async def open(self, offer: Offer, amount: int, caller: str) -> tuple[Invoice, str]:
        """An invoice to open a session, and the token that will act for it; no wallet is named yet."""
        self._require_room(caller)
        if not funds_people(offer):
            raise refuse(
                ProblemType.REQUEST_MALFORMED,
                f"Offer {offer.id!r} is not for browsers: it is paid by vouchers, or has no escrow on chain. Use a "
                "client such as retainer's, or another offer.",
            )
        _require_between(amount, offer.minimum_deposit, offer.maximum_deposit, offer)
        challenge = await self._challenger.issue(offer)
        new = NewInvoice(
            invoice_id=secrets.token_urlsafe(_INVOICE_BYTES),
            kind=InvoiceKind.OPEN,
            offer_id=offer.id,
            amount=amount,
            terms=challenge_header(challenge),
            salt=secrets.randbits(_SALT_BITS),
            created_at=self._clock.now(),
            expires_at=challenge.expires_at() or self._clock.now(),
        )
        return await self._add(new)

    async def top_up(self, record: SessionRecord, amount: int, caller: str) -> tuple[Invoice, str]:
        """An invoice to add to a session's deposit, and the token that takes the older ones' place."""
        self._require_room(caller)
        _require(check_session(record, self._clock.now()))
        offer = self._offers.get(record.offer_id)
        if offer is None:
            raise refuse(
                ProblemType.DEPOSIT_TERMS_MISMATCH,
                f"Offer {record.offer_id!r} is no longer made: use up what is left, or close the session.",
            )
        _require_between(amount, 1, offer.maximum_deposit - record.deposit, offer)
        challenge = self._challenger.resume(offer, record)
        new = NewInvoice(
            invoice_id=secrets.token_urlsafe(_INVOICE_BYTES),
            kind=InvoiceKind.TOPUP,
            offer_id=offer.id,
            amount=amount,
            terms=challenge_header(challenge),
            salt=0,
            created_at=self._clock.now(),
            expires_at=challenge.expires_at() or self._clock.now(),
            payer=str(record.payer),
            session_id=record.session_id,
            deposit_before=record.deposit,
        )
        return await self._add(new)

    async def name(self, invoice: Invoice, payer: Pubkey) -> Invoice:
        """Say which wallet pays. The first one named stays, so that there is one address to look at."""
        request = _challenge(invoice).session_request()
        if payer in (self._identity.operator, self._identity.payee):
            raise refuse(ProblemType.REQUEST_MALFORMED, "The service cannot pay itself: use another wallet.")
        if invoice.kind is InvoiceKind.TOPUP:
            outcome = NameOutcome.NAMED if invoice.payer == str(payer) else NameOutcome.OTHER
        else:
            address = str(opening_action(request, payer, invoice.salt, invoice.amount).channel_id)
            outcome = await self._ledger.people.name_payer(invoice.invoice_id, str(payer), address)
        if outcome is NameOutcome.OTHER:
            raise refuse(
                ProblemType.WALLET_MISMATCH,
                "This invoice is another wallet's: go on with that one, or make a new invoice.",
            )
        if outcome is NameOutcome.OVER:
            raise _over()
        return await self.reload(invoice.invoice_id)

    async def reload(self, invoice_id: str) -> Invoice:
        """The invoice as the books have it now."""
        invoice = await self._ledger.people.invoice(invoice_id)
        if invoice is None:
            raise unknown_invoice()
        return invoice

    async def transaction(self, invoice: Invoice, *, sponsored: bool) -> bytes | None:
        """What the wallet signs, with a fresh blockhash; None without a wallet, or when nothing is left to sign.

        A sponsor's signature is never given ahead, for that would pay for whatever becomes of it: what is `sponsored`
        is signed by the wallet first, and handed to ``take``.
        """
        offer = self._offers.get(invoice.offer_id)
        if invoice.payer is None or invoice.stage is not InvoiceStage.WAITING or self.expired(invoice) or offer is None:
            return None
        payer = Pubkey.from_string(invoice.payer)
        fee_payer = (self._identity.sponsor if sponsored else None) or payer
        if invoice.kind is InvoiceKind.OPEN:
            instruction = open_instruction(
                _challenge(invoice).session_request(),
                offer,
                payer,
                rent_payer=fee_payer,
                salt=invoice.salt,
                deposit=invoice.amount,
            )
        else:
            record = await self._session(invoice)
            instruction = top_up_instruction(record, invoice.amount, self._identity.program_id)
        return unsigned(instruction, fee_payer, (await self._challenger.blockhash()).blockhash)

    async def take(self, invoice: Invoice, raw: bytes) -> Invoice:
        """Land a transaction that the payer has signed; RefusedError says what is wrong, and changes nothing."""
        if invoice.payer is None:
            raise refuse(ProblemType.REQUEST_MALFORMED, "Say first which wallet pays: no payer is named yet.")
        if invoice.stage is InvoiceStage.ACTIVE:
            return invoice
        if not invoice.undecided or (self.expired(invoice) and invoice.stage is InvoiceStage.WAITING):
            raise _over()
        try:
            record = await self._landed(invoice, raw)
        except RefusedError as error:
            if error.refusal.problem is not ProblemType.DEPOSIT_UNCONFIRMED:
                raise
            await self._ledger.people.move_invoice(invoice.invoice_id, InvoiceStage.SENT)
        else:
            await self._activate(invoice, record)
        return await self.reload(invoice.invoice_id)

    async def look(self, invoice: Invoice) -> Invoice:
        """The invoice after a look at the chain, unless there was one just now. Nothing is concluded from silence."""
        if not invoice.undecided or invoice.payer is None or self._looks.take(invoice.invoice_id):
            return invoice
        try:
            if invoice.kind is InvoiceKind.OPEN:
                await self._look_for_session(invoice)
            else:
                await self._look_for_top_up(invoice)
        except RefusedError as error:
            if error.refusal.problem in _OPEN_PROBLEMS:
                return invoice
            await self._refuse_deposit(invoice, error.refusal)
        return await self.reload(invoice.invoice_id)

    def expired(self, invoice: Invoice) -> bool:
        """Whether its time is over; what was signed before may still arrive."""
        return self._clock.now() >= invoice.expires_at

    async def _add(self, new: NewInvoice) -> tuple[Invoice, str]:
        token = tokens.new_token()
        await self._ledger.people.add_invoice(new, tokens.digest(token))
        _log.info("invoice_made", kind=str(new.kind), offer=new.offer_id, amount=new.amount)
        return await self.reload(new.invoice_id), token

    async def _landed(self, invoice: Invoice, raw: bytes) -> SessionRecord:
        challenge = _challenge(invoice)
        if invoice.kind is InvoiceKind.OPEN:
            payer = Pubkey.from_string(invoice.payer or "")
            action = opening_action(challenge.session_request(), payer, invoice.salt, invoice.amount, raw)
            return await self._holding.open_invoiced(challenge, action)
        session = Pubkey.from_string(invoice.session_id or "")
        return await self._holding.add(TopUpAction(session, BaseUnits(invoice.amount), raw))

    async def _look_for_session(self, invoice: Invoice) -> None:
        challenge, payer = _challenge(invoice), Pubkey.from_string(invoice.payer or "")
        request = challenge.session_request()
        # Whatever is there counts, if the offer takes as much.
        action = opening_action(request, payer, invoice.salt, request.minimum_deposit or 1)
        record = await self._holding.arrived(challenge, action)
        if record is not None:
            await self._activate(invoice, record)
        elif invoice.stage is InvoiceStage.WAITING:
            seen = await self._chain.account(action.channel_id, commitment=Commitment.PROCESSED)
            if seen is not None:
                await self._ledger.people.move_invoice(invoice.invoice_id, InvoiceStage.SENT)

    async def _look_for_top_up(self, invoice: Invoice) -> None:
        record = await self._session(invoice)
        if record.deposit <= invoice.deposit_before and record.state is SessionState.ACTIVE:
            record = await self._holding.added(record)
        if record.deposit > invoice.deposit_before:
            await self._activate(invoice, record)
        elif record.state is not SessionState.ACTIVE:
            raise refuse(
                ProblemType.SESSION_CLOSING,
                "The session has ended meanwhile. What was added goes back with the rest.",
            )

    async def _activate(self, invoice: Invoice, record: SessionRecord) -> None:
        opened = invoice.kind is InvoiceKind.OPEN
        await self._ledger.people.move_invoice(
            invoice.invoice_id,
            InvoiceStage.ACTIVE,
            signature=record.creation_signature if opened else None,
            received=record.deposit - invoice.deposit_before,
        )
        _log.info("invoice_paid", kind=str(invoice.kind), session=record.session_id)

    async def _refuse_deposit(self, invoice: Invoice, refusal: Refusal) -> None:
        stage, received = InvoiceStage.REJECTED, None
        if refusal.problem is ProblemType.DEPOSIT_TOO_SMALL and invoice.session_id is not None:
            stage, received = InvoiceStage.UNDERPAID, await self._received(invoice.session_id)
        await self._ledger.people.move_invoice(invoice.invoice_id, stage, received=received, reason=refusal.detail)

    async def _received(self, session_id: str) -> int | None:
        try:
            account = await session_account(
                self._chain, Pubkey.from_string(session_id), program_id=self._identity.program_id
            )
        except ForeignAccountError:
            return None
        return None if account is None else account.deposit

    async def _session(self, invoice: Invoice) -> SessionRecord:
        record = await self._ledger.session(invoice.session_id or "")
        if record is None:
            raise unknown_invoice()
        return record

    def _require_room(self, caller: str) -> None:
        if self._made.take(caller):
            raise refuse(
                ProblemType.TOO_MANY_REQUESTS,
                "This address makes more invoices than this service allows: try again in a second.",
                retry_after=1,
            )


def funds_people(offer: Offer) -> bool:
    """Whether a browser can pay it: it keeps no key to sign vouchers with, and its deposit must be found again."""
    return offer.voucher_signer is VoucherSigner.OPERATOR and offer.anchor_on_chain


def _challenge(invoice: Invoice) -> Challenge:
    return parse_challenge_headers([invoice.terms])[0]


def _require(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal)


def _require_between(amount: int, least: int, most: int, offer: Offer) -> None:
    if not least <= amount <= most:
        lowest, highest = (format_amount(max(limit, 0), offer.decimals) for limit in (least, most))
        raise refuse(
            ProblemType.DEPOSIT_TOO_SMALL if amount < least else ProblemType.DEPOSIT_TERMS_MISMATCH,
            f"The amount is {format_amount(amount, offer.decimals)}; choose one from {lowest} to {highest}.",
        )


def _over() -> RefusedError:
    return refuse(ProblemType.INVOICE_OVER, "This invoice is over: look at its state, or make a new one.")
