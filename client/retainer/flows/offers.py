"""An offer: what a service asks for in its 402, and where it was asked."""

from dataclasses import dataclass

import httpx
from solders.pubkey import Pubkey

from retainer.channels.scope import ChannelScope
from retainer.errors import OfferError
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.challenges import Challenge, parse_challenge_headers
from retainer.protocol.constants import HEADER_CHALLENGE, INTENT, METHOD
from retainer.protocol.errors import MessageError
from retainer.protocol.offers import SessionRequest
from retainer.protocol.session import VoucherSigner


@dataclass(frozen=True, slots=True)
class Offer:
    """One session challenge and the request that it answered."""

    method: str
    url: str
    challenge: Challenge
    request: SessionRequest

    @property
    def scope(self) -> ChannelScope:
        """What a session opened for this offer can pay for, whoever opens it."""
        request = self.request
        return ChannelScope(
            payee=request.recipient,
            token=request.currency,
            program=request.channel_program,
            cluster=str(request.network),
            origin=origin_of(httpx.URL(self.url)),
            offer_id=request.retainer.offer_id if request.retainer else "",
        )

    @property
    def operator(self) -> Pubkey:
        """Who meters and submits; the payee where the offer has no terms."""
        terms = self.request.retainer
        return self.request.operator or (terms.operator if terms else self.request.recipient)

    @property
    def takes_vouchers(self) -> bool:
        """Whether the agent authorizes each amount itself (voucher mode)."""
        return self.request.voucher_signer is VoucherSigner.CLIENT

    @property
    def sponsor(self) -> Pubkey | None:
        """Who offers to pay fees and rent of a deposit."""
        return self.request.fee_payer_key if self.request.fee_payer else None

    def agrees_with(self, other: "Offer") -> bool:
        """Whether a session opened for the one is what the other asks for: same price, terms, operator and mode."""
        return self.commitments == other.commitments

    @property
    def commitments(self) -> tuple[object, ...]:
        """What a session is bound to once it is opened: scope, price, SLA terms, operator and mode."""
        request = self.request
        sla_hash = request.retainer.sla_hash if request.retainer else None
        return self.scope, request.amount, sla_hash, self.operator, request.voucher_signer, request.anchor_on_chain

    @property
    def max_units(self) -> int:
        """The most units that a request to the route that was asked may cost."""
        return self.request.retainer.max_units if self.request.retainer else 1

    @property
    def expires_at(self) -> int:
        """When a session opened now ends (Unix seconds); 0 where it does not."""
        return self.request.retainer.expires_at if self.request.retainer else 0

    @property
    def suggested_deposit(self) -> BaseUnits | None:
        """What the service suggests, or else insists on, in base units."""
        return self.request.suggested_deposit or self.request.minimum_deposit


def origin_of(url: httpx.URL) -> str:
    """Scheme, host and port, always with the port, so that equal origins are equal texts."""
    return f"{url.scheme}://{url.host}:{url.port or {'https': 443, 'http': 80}.get(url.scheme, 0)}"


def read_offers(response: httpx.Response) -> list[Offer]:
    """The session offers in a 402, none when it asks for other payments; OfferError when they are malformed."""
    try:
        challenges = parse_challenge_headers(response.headers.get_list(HEADER_CHALLENGE))
        return [
            Offer(response.request.method, str(response.request.url), challenge, challenge.session_request())
            for challenge in challenges
            if (challenge.method, challenge.intent) == (METHOD, INTENT)
        ]
    except MessageError as error:
        raise OfferError(f"{response.request.url} asks for payment in a way that cannot be read: {error}") from None


async def ask_offers(http: httpx.AsyncClient, url: str, method: str = "GET") -> list[Offer]:
    """What the service asks for at ``url``; nothing is signed. OfferError when it asks for no session."""
    response = await http.request(method, url, auth=None, follow_redirects=False)
    offers = read_offers(response) if response.status_code == httpx.codes.PAYMENT_REQUIRED else []
    if not offers:
        raise OfferError(f"{url} answered {response.status_code} and offers no session")
    return offers


async def ask_again(http: httpx.AsyncClient, seen: Offer) -> Offer:
    """The fresh challenge for an offer that was looked at; OfferError when it is gone or got worse."""
    for offer in await ask_offers(http, seen.url, seen.method):
        if offer.scope == seen.scope:
            before, after = seen.request, offer.request
            if before.anchor_on_chain and not after.anchor_on_chain:
                raise OfferError("since you looked the service has given up its escrow; look again with offers()")
            if after.amount > before.amount or offer.operator != seen.operator or after.decimals != before.decimals:
                raise OfferError(
                    f"the service has changed its offer since you looked: the price was {before.amount} "
                    f"base units and is {after.amount}; look again with offers()"
                )
            return offer
    raise OfferError(f"{seen.url} no longer makes this offer; look again with offers()")
