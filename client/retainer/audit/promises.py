"""What a provider says it sells, in a file or in its own 402: claims, held against what a session committed to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from solders.pubkey import Pubkey

from retainer.audit.findings import Finding, Kind
from retainer.errors import OfferError
from retainer.flows.offers import Offer, read_offers
from retainer.protocol.encoding import read_json
from retainer.protocol.sla import NO_TERMS_HASH, SlaTerms, terms_hash

_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Committed:
    """What a session committed to on chain when it was opened; a stock `open` commits to no price and no terms."""

    payee: Pubkey
    operator: Pubkey
    price: int
    sla_hash: bytes


@dataclass(frozen=True, slots=True)
class Promise:
    """What is claimed; ``source`` says by whom. Price in base units; parties and price None where it does not say."""

    source: str
    sla: SlaTerms | None
    price: int | None = None
    payee: Pubkey | None = None
    operator: Pubkey | None = None


def read_terms(path: Path) -> Promise:
    """SLA terms as JSON, bare or under `slaTerms`, as offers and usage logs show them; else MessageError."""
    text = path.read_bytes()
    shown = read_json(text.splitlines()[0] if path.suffix == ".jsonl" and text else text, path.name)
    if isinstance(shown, Mapping) and "slaTerms" in shown:
        shown = shown["slaTerms"]
    return Promise(path.name, SlaTerms.from_json(shown, path.name))


async def read_offer(url: str) -> Promise:
    """The first session offer that the service answers with; OfferError where it makes none."""
    async with httpx.AsyncClient(timeout=_SECONDS) as http:
        response = await http.get(url)
    offers = read_offers(response)
    if not offers:
        raise OfferError(f"{url} answered {response.status_code} and offers no session: give the URL of a priced route")
    return _promise(offers[0])


def _promise(offer: Offer) -> Promise:
    terms = offer.request.retainer
    return Promise(
        source=offer.url,
        sla=terms.sla if terms else None,
        price=offer.request.amount,
        payee=offer.request.recipient,
        operator=offer.operator,
    )


def broken_promises(promise: Promise, committed: Committed) -> Iterator[Finding]:
    """Where what is claimed is not what the session was opened under."""
    claimed = terms_hash(promise.sla)
    if claimed != committed.sla_hash and (committed.price or committed.sla_hash != NO_TERMS_HASH):
        yield Finding(
            Kind.TERMS,
            f"the SLA terms of {promise.source} have hash {claimed.hex()}, and the session committed to "
            f"{committed.sla_hash.hex()}: these are not the terms it was opened under",
        )
    if promise.price is not None and committed.price and promise.price != committed.price:
        yield Finding(
            Kind.TERMS, f"{promise.source} asks {promise.price} a unit, and the session committed to {committed.price}"
        )
    if promise.payee is not None and promise.payee != committed.payee:
        yield Finding(Kind.PARTIES, f"{promise.source} is paid to {promise.payee}, the session pays {committed.payee}")
    if promise.operator is not None and promise.operator != committed.operator:
        yield Finding(
            Kind.PARTIES, f"{promise.source} is run by operator {promise.operator}, the session by {committed.operator}"
        )


def terms_words(terms: SlaTerms | None) -> str:
    """SLA terms for a reader."""
    if terms is None:
        return "no terms"
    said = [
        *([] if terms.max_latency_ms is None else [f"within {terms.max_latency_ms} ms"]),
        f"status {' or '.join(terms.accepted_statuses)}",
        f"at least {terms.min_body_bytes} bytes",
        *([] if terms.response_schema is None else ["a body that fits the JSON Schema agreed"]),
    ]
    if (availability := terms.availability) is not None:
        window = (
            f"{availability.window_requests} requests"
            if availability.window_requests
            else f"{availability.window_seconds} s"
        )
        least, back = availability.min_bps / 100, availability.credit_bps / 100
        said.append(f"of every {window} at least {least:g} % kept, or {back:g} % of their charges go back")
    return ", ".join(said)
