"""An offer: one price of a unit for some routes, and the terms a session is opened on. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import VoucherSigner
from retainer.protocol.sla import SlaTerms
from retainer_provider.tariffs import Tariff


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One price of a unit for some routes, with what each costs. Amounts are base units of `mint`, times seconds.

    Without `anchor_on_chain` its sessions are custodial: the service itself holds their deposits.
    """

    id: str
    price: BaseUnits
    mint: Pubkey
    decimals: int
    token_program: Pubkey
    suggested_deposit: BaseUnits
    minimum_deposit: BaseUnits
    maximum_deposit: BaseUnits
    credit_before_finality: BaseUnits  # of a session: what a fork could cost
    settle_above: BaseUnits | None  # what may stay unsettled until the close; None for all
    duration: int
    grace_period: int
    idle_timeout: int
    idle_timeout_options: tuple[int, ...]
    max_free_answers: int
    voucher_signer: VoucherSigner
    description: str | None
    sla: SlaTerms | None
    routes: Mapping[str, Tariff]
    anchor_on_chain: bool = True
