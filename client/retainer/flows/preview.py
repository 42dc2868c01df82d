"""What a signature would do, put before the person who is to agree to it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from solders.pubkey import Pubkey

from retainer.flows.offers import Offer
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import Network
from retainer.protocol.tokens import token_symbol
from retainer.trust.look_alikes import imitated
from retainer.trust.policy import ChainFacts


@dataclass(frozen=True, slots=True)
class Preview:
    """A deposit that is about to be signed; amounts in base units of ``mint``, times in Unix seconds.

    ``added`` is what moves, ``deposit`` what the session holds then. ``price`` is for a request, at most. ``at_risk``
    is what a dishonest provider could keep. ``expires_at`` is 0 where sessions do not end. ``symbol`` is None for
    tokens that are not well known; ``imitates`` is the well-known one that such a token calls itself by.
    """

    session_id: str | None
    url: str
    network: Network
    mint: Pubkey
    symbol: str | None
    imitates: str | None
    decimals: int
    price: BaseUnits
    added: BaseUnits
    deposit: BaseUnits
    at_risk: BaseUnits
    takes_vouchers: bool
    in_escrow: bool
    payee: Pubkey
    operator: Pubkey
    sponsored: bool
    expires_at: int
    grace_period: int

    def says_what(self, other: "Preview") -> bool:
        """Whether it is what was agreed to with ``other``: all but the expiry, which moves with the clock."""
        return replace(self, expires_at=other.expires_at) == other


Consent: TypeAlias = Callable[[Preview], Awaitable[bool]]
"""Asks a person, or a program's own rules, before anything is signed; False refuses."""


def preview_of(
    offer: Offer,
    facts: ChainFacts,
    *,
    added: BaseUnits,
    deposit: BaseUnits | None = None,
    expires_at: int | None = None,
    session_id: str | None = None,
) -> Preview:
    """The preview of opening a session for the offer; of a top-up where ``session_id`` names a session."""
    request, total = offer.request, added if deposit is None else deposit
    price = BaseUnits(request.amount * offer.max_units)
    symbol = token_symbol(request.currency)
    return Preview(
        session_id=session_id,
        url=offer.url,
        network=request.network,
        mint=request.currency,
        symbol=symbol,
        imitates=imitated(request.currency, facts.names),
        decimals=facts.decimals,
        price=price,
        added=added,
        deposit=total,
        # A voucher is signed for one request at a time; everything else the operator's word, or nothing, bounds.
        at_risk=min(price, total) if offer.takes_vouchers and request.anchor_on_chain else total,
        takes_vouchers=offer.takes_vouchers,
        in_escrow=request.anchor_on_chain,
        payee=request.recipient,
        operator=offer.operator,
        sponsored=offer.sponsor is not None,
        expires_at=offer.expires_at if expires_at is None else expires_at,
        grace_period=request.grace_period_seconds or 0,
    )
