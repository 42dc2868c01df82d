"""From a request to a price, and from a verdict to a charge. Pure."""

import msgspec

from retainer.protocol.amounts import BaseUnits, base_units
from retainer.protocol.sla import Verdict


class Quote(msgspec.Struct, frozen=True, gc=False):
    """What a request costs at most: ``units`` whole units, ``amount`` base units of the token."""

    units: int
    amount: BaseUnits


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What a finished request costs: what was quoted, or nothing and ``term`` names the broken SLA term."""

    charged: bool
    units: int
    amount: BaseUnits
    term: str | None = None


def quote(price: int, units: int = 1) -> Quote:
    """Price ``units`` whole units at ``price`` base units each. AmountError where that leaves u64."""
    return Quote(units, base_units(price * units))


def decide(verdict: Verdict, quoted: Quote) -> Charge:
    """A request that broke its SLA is free, and says which term; any other costs what was quoted."""
    if verdict.breached:
        return Charge(charged=False, units=0, amount=BaseUnits(0), term=verdict.term)
    return Charge(charged=True, units=quoted.units, amount=quoted.amount)
