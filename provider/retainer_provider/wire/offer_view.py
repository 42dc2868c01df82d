"""An offer as `/offers` tells it. Pure."""

from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.fields import present
from retainer.protocol.sla import terms_hash
from retainer.protocol.tokens import token_symbol
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer


def offer_json(offer: Offer, identity: Identity) -> dict[str, Json]:
    """Price, deposit, terms and routes."""
    amounts = {
        "price": offer.price,
        "suggestedDeposit": offer.suggested_deposit,
        "minimumDeposit": offer.minimum_deposit,
        "maximumDeposit": offer.maximum_deposit,
    }
    token: dict[str, Json] = {
        "mint": str(offer.mint),
        "symbol": token_symbol(offer.mint),
        "decimals": offer.decimals,
        "tokenProgram": str(offer.token_program),
    }
    return present(
        {
            "offerId": offer.id,
            "description": offer.description,
            "network": str(identity.network),
            "programId": str(identity.program_id),
            "payee": str(identity.payee),
            "operator": str(identity.operator),
            "token": present(token),
            **{name: str(units) for name, units in amounts.items()},
            **{f"{name}Display": format_amount(units, offer.decimals) for name, units in amounts.items()},
            "voucherSigner": str(offer.voucher_signer),
            "anchorOnChain": offer.anchor_on_chain,
            "durationSeconds": offer.duration,
            "gracePeriodSeconds": offer.grace_period,
            "idleTimeoutSeconds": offer.idle_timeout,
            "idleTimeoutOptionsSeconds": [*offer.idle_timeout_options],
            "maxFreeAnswers": offer.max_free_answers,
            "slaTerms": None if offer.sla is None else offer.sla.to_json(),
            "slaHash": terms_hash(offer.sla).hex(),
            "routes": [*offer.routes],
        }
    )
