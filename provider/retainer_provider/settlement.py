"""What the closing transaction must say, computed from the ledger and the account on chain. Pure."""

from dataclasses import dataclass

from retainer.protocol.amounts import BaseUnits


@dataclass(frozen=True, slots=True)
class SettlementPlan:
    """The arguments of ``close``. ``amount + refund`` is the account's whole deposit, in base units."""

    amount: BaseUnits
    charged_units: int
    refund: BaseUnits
    usage_root: bytes
    opened_at: int
