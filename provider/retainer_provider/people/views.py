"""Offers, invoices and closings as a browser is told of them. Pure."""

from collections.abc import Mapping

from retainer.protocol.amounts import format_amount, requests_left
from retainer.protocol.encoding import Json
from retainer.protocol.session import SessionState
from retainer_provider.books.people import Invoice, InvoiceKind, InvoiceStage
from retainer_provider.books.records import SessionRecord
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.people.invoices import funds_people

_HALF, _FIVE = (1, 2), (5, 1)


def amounts(decimals: int, **units: int) -> dict[str, Json]:
    """Each amount in base units, and the same for people to read."""
    told: dict[str, Json] = {name: str(amount) for name, amount in units.items()}
    return {**told, **{f"{name}Display": format_amount(amount, decimals) for name, amount in units.items()}}


def offer_extras(offer: Offer, identity: Identity) -> dict[str, Json]:
    """What a page needs of an offer beside what agents do."""
    return {
        "people": funds_people(offer),
        "sponsored": identity.sponsor is not None and offer.anchor_on_chain,
        "presets": [preset(offer, amount) for amount in preset_amounts(offer)],
    }


def preset_amounts(offer: Offer) -> list[int]:
    """Half of what is suggested, that, and five times as much, as far as the offer takes them."""
    wanted = [offer.suggested_deposit * times // parts for times, parts in (_HALF, (1, 1), _FIVE)]
    return sorted({min(max(amount, offer.minimum_deposit), offer.maximum_deposit) for amount in wanted})


def preset(offer: Offer, amount: int) -> dict[str, Json]:
    """How far an amount goes, rounded down, and the worst that can become of it: in metered mode all of it."""
    requests = requests_left(amount, offer.price)
    return {
        **amounts(offer.decimals, amount=amount, worstLoss=amount),
        "requests": None if requests is None else str(requests),
    }


def invoice_state(invoice: Invoice, now: int) -> str:
    """The state that people see."""
    match invoice.stage:
        case InvoiceStage.WAITING:
            return "expired" if now >= invoice.expires_at else "waiting"
        case InvoiceStage.SENT:
            return "confirming"
        case InvoiceStage.REPLACED:
            return "expired"
        case decided:
            return str(decided)


def invoice_view(invoice: Invoice, decimals: int, now: int) -> dict[str, Json]:
    """An invoice without its token and without anything to sign."""
    state = invoice_state(invoice, now)
    received = {} if invoice.received is None else amounts(decimals, received=invoice.received)
    return {
        "invoiceId": invoice.invoice_id,
        "kind": str(invoice.kind),
        "state": state,
        "detail": _detail(invoice, state, decimals),
        "offer": invoice.offer_id,
        **amounts(decimals, amount=invoice.amount),
        "createdAt": invoice.created_at,
        "expiresAt": invoice.expires_at,
        "payer": invoice.payer,
        "sessionId": invoice.session_id,
        "signature": invoice.signature,
        "received": None,
        **received,
    }


def _detail(invoice: Invoice, state: str, decimals: int) -> str:
    topup = invoice.kind is InvoiceKind.TOPUP
    if invoice.stage is InvoiceStage.REPLACED:
        return "A newer top-up has taken this one's place."
    told: Mapping[str, str] = {
        "waiting": "Waiting for your wallet.",
        "confirming": "Your deposit was seen. Waiting until it counts.",
        "active": "Your session is topped up." if topup else "Your session is open.",
        "expired": "The time for this invoice is over. Nothing was taken; make a new one. "
        "If you have signed just now, the deposit is still found.",
        "underpaid": f"Less arrived than {format_amount(invoice.amount, decimals)}, and less than this offer takes. "
        "Request the close on chain and withdraw after the grace period.",
    }
    return told.get(state) or invoice.reason or "The deposit is not as invoiced."


def closing_view(record: SessionRecord, now: int) -> dict[str, Json]:
    """What would go where if the session were closed now."""
    to_provider = record.spent if record.settled is None else record.settled
    to_payer = record.deposit - record.spent if record.refund is None else record.refund
    spent, back = (format_amount(units, record.decimals) for units in (to_provider, to_payer))
    done = record.state is SessionState.REFUNDED
    detail = (
        f"{spent} went to the provider for what was used, {back} went back to the wallet that paid."
        if done
        else f"{spent} goes to the provider for what was used, {back} goes back to the wallet that paid. "
        "The provider pays the network fee."
    )
    return {
        "sessionId": record.session_id,
        "state": str(record.state_at(now)),
        **amounts(record.decimals, toProvider=to_provider, toPayer=to_payer),
        "provider": str(record.payee),
        "payer": str(record.payer),
        "detail": detail,
    }
