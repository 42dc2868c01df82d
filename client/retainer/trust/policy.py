"""What must hold before the client signs: one place, pure, and each refusal says that nothing was signed (F29, C41)."""

import ipaddress
from dataclasses import dataclass
from typing import Final

import httpx
from solders.pubkey import Pubkey

from retainer.errors import CapError, OfferError, PinError
from retainer.flows.offers import Offer
from retainer.protocol.amounts import BaseUnits, format_amount
from retainer.protocol.constants import (
    MAX_GRACE_PERIOD,
    MIN_GRACE_PERIOD,
    OPEN_SLOT_WINDOW,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    Network,
)
from retainer.protocol.tokens import known_decimals, token_symbol
from retainer.trust.caps import SpendingCaps
from retainer.trust.pins import Pins

_TOKEN_PROGRAMS: Final = frozenset({TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID})
# A cap of "1.0" means something for a token worth a dollar; for any other the caller has to say that it does.
_STABLECOINS: Final = frozenset({"USDC"})


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the caller's own RPC says about an offer: the slot, the token, and how much of it the payer has.

    ``names``: what the token calls itself, which is anybody's to write.
    """

    slot: int
    token_program: Pubkey
    decimals: int
    balance: BaseUnits
    names: tuple[str, ...] = ()


def require_trusted(
    offer: Offer, *, payer: Pubkey, voucher_key: Pubkey, pins: Pins, caps: SpendingCaps, now: int
) -> None:
    """What can be judged without a chain: PinError, CapError or OfferError where the offer must not be paid.

    ``voucher_key`` would sign the vouchers; ``now`` in Unix seconds.
    """
    request = offer.request
    _require_private(offer.url)
    pins.require(request.network, request.channel_program)
    _require_token(request.currency, request.network, caps)
    _require_payable(offer, payer, voucher_key)
    caps.require_times(request.grace_period_seconds or 0, offer.expires_at - now if offer.expires_at else 0)
    if offer.expires_at and offer.expires_at <= now:
        raise OfferError("the offer's sessions have expired already; ask the service for a new offer")


def require_custody(offer: Offer, *, allowed: bool) -> None:
    """PinError for an offer whose deposit no program would hold, unless the caller has said that it may be so."""
    if not offer.request.anchor_on_chain and not allowed:
        raise PinError(
            "the service offers no escrow: the provider holds the money, and nothing on chain makes it pay back what "
            "you do not use; nothing was signed. If you trust it that far: allow_custodial=True (--custodial)"
        )


def require_on_chain(offer: Offer, facts: ChainFacts, caps: SpendingCaps) -> None:
    """Hold the challenge against the caller's own RPC, and the price against the caps."""
    request = offer.request
    # The program bounds the age of the slot that is signed, so a signature that fits this chain's slot is worth
    # nothing on another chain: a "localnet" challenge with a mainnet blockhash ends here.
    if request.recent_slot is None or abs(facts.slot - request.recent_slot) > OPEN_SLOT_WINDOW:
        raise PinError(
            f"the service builds on slot {request.recent_slot}, and your RPC is at slot {facts.slot}: "
            "they do not see the same chain; nothing was signed. Check --rpc-url"
        )
    if facts.token_program not in _TOKEN_PROGRAMS or request.token_program not in (None, facts.token_program):
        raise OfferError(
            f"{request.currency} belongs to program {facts.token_program} on this chain, which is not the token "
            "program that the service names; nothing was signed"
        )
    # Decimals turn "1.0" into base units: a challenge that inflates them would inflate the deposit.
    if request.decimals != facts.decimals:
        raise OfferError(
            f"the service gives {request.currency} {request.decimals} decimals, and its mint has {facts.decimals}; "
            "nothing was signed"
        )
    known = known_decimals(request.currency)
    if known not in (None, facts.decimals):
        raise PinError(
            f"your RPC says that {token_symbol(request.currency)} has {facts.decimals} decimals, and it has {known}: "
            "it does not see the chain that it is taken for; nothing was signed. Check --rpc-url"
        )
    caps.require_price(request.amount * offer.max_units, facts.decimals)


def require_deposit(offer: Offer, deposit: BaseUnits, facts: ChainFacts) -> None:
    """Whether this deposit can open a session for the offer; OfferError or CapError says how much would."""
    request = offer.request

    def shown(units: int) -> str:
        return format_amount(units, facts.decimals)

    if request.minimum_deposit is not None and deposit < request.minimum_deposit:
        raise OfferError(f"the service takes deposits from {shown(request.minimum_deposit)}, not {shown(deposit)}")
    if deposit < max(request.amount, 1):
        raise OfferError(f"a deposit of {shown(deposit)} does not pay one request at {shown(request.amount)}")
    if deposit > facts.balance:
        raise CapError(
            f"your token account holds {shown(facts.balance)} of {request.currency}, "
            f"and the deposit is {shown(deposit)}; nothing was signed"
        )


def _require_private(url: str) -> None:
    """A session's proof is a bearer token: it travels encrypted, or not beyond this machine."""
    parts = httpx.URL(url)
    if parts.scheme != "https" and not _is_loopback(parts.host):
        raise PinError(f"{url} is not https, and whoever listens could spend the session; nothing was signed")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _require_token(mint: Pubkey, network: Network, caps: SpendingCaps) -> None:
    if caps.mints is None:
        allowed = network is Network.LOCALNET or token_symbol(mint) in _STABLECOINS
    else:
        allowed = mint in caps.mints
    if not allowed:
        raise PinError(
            f"the service wants token {mint}, which you did not allow; nothing was signed. "
            f'If you want to pay in it: SpendingCaps(mints={{Pubkey.from_string("{mint}")}})'
        )


def _require_payable(offer: Offer, payer: Pubkey, voucher_key: Pubkey) -> None:
    request, services = offer.request, (offer.request.recipient, offer.operator)
    if offer.takes_vouchers and voucher_key in services:
        raise OfferError("the service names your voucher signer as payee or operator; it could authorize itself")
    if (request.min_voucher_delta or 0) > request.amount:
        raise OfferError(
            f"the service wants vouchers to grow by {request.min_voucher_delta} base units where a request costs "
            f"{request.amount}: that signs more than is asked for; nothing was signed"
        )
    # A sponsor signs what agents build: one that is also payee or operator would sign settlements with it.
    if offer.sponsor in (payer, *services):
        raise OfferError("the service's sponsor is its payee, its operator, or you; nothing was signed")
    if request.channel_id is not None:
        raise OfferError(f"the service wants session {request.channel_id} resumed, which this client does not have")
    if payer in services:
        raise OfferError("the service names your own key as payee or operator; the program refuses such sessions")
    if not MIN_GRACE_PERIOD <= (request.grace_period_seconds or 0) <= MAX_GRACE_PERIOD:
        raise OfferError(
            f"a grace period of {request.grace_period_seconds} s is outside the program's "
            f"{MIN_GRACE_PERIOD} to {MAX_GRACE_PERIOD} s"
        )
    terms = request.retainer
    if terms and (terms.price, terms.operator) != (request.amount, offer.operator):
        raise OfferError("the offer's terms name another price or operator than the challenge around them")
