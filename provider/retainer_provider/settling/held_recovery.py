"""What can be saved of a custodial session whose books are lost: transfers on chain, and its agent's receipt. Pure.

The transfers say what came in and what went back; only a receipt of the operator's own says what was spent. A refund is
made once: where one is on chain already, nothing more is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.receipts import Receipt
from retainer.protocol.usage import EMPTY_ROOT
from retainer_provider.offers import Offer
from retainer_provider.settling.recovery import Finding

_STAYS: Final = "it stays in your hands, and is its agent's until a receipt says otherwise"


@dataclass(frozen=True, slots=True)
class Deposit:
    """One transfer that came in; ``at`` in Unix seconds."""

    signature: str
    amount: BaseUnits
    at: int


@dataclass(frozen=True, slots=True)
class Held:
    """What the chain knows of one custodial session; amounts in base units, deposits oldest first.

    ``refunded`` went back to ``payer``, ``late`` came in after that.
    """

    session: Pubkey
    offer: Offer
    payer: Pubkey
    deposits: tuple[Deposit, ...]
    refunded: BaseUnits
    late: BaseUnits


@dataclass(frozen=True, slots=True)
class HeldRecovery:
    """The finding on one of them; ``why`` is a sentence."""

    held: Held
    finding: Finding
    why: str
    spent: BaseUnits
    sequence: int = 0
    usage_root: bytes = EMPTY_ROOT

    @property
    def session(self) -> Pubkey:
        """Its address, at which there is no account."""
        return self.held.session

    @property
    def payer(self) -> Pubkey:
        """To whom the rest belongs."""
        return self.held.payer

    @property
    def deposit(self) -> BaseUnits:
        """All that was paid in."""
        return BaseUnits(sum(one.amount for one in self.held.deposits))

    @property
    def decimals(self) -> int:
        """Of the token."""
        return self.held.offer.decimals

    @property
    def left_to(self) -> str:
        """What becomes of it when nobody does anything, as half a sentence."""
        return _STAYS

    @property
    def refundable(self) -> bool:
        """Whether all of it may be sent back without proof."""
        return self.finding is Finding.UNPROVEN


def recover_held(held: Held, receipts: Sequence[Receipt]) -> HeldRecovery:
    """Judge one session by its transfers and by receipts that are the operator's own."""
    deposit = sum(one.amount for one in held.deposits)
    nothing = BaseUnits(0)
    if held.refunded and held.late:
        why = f"{held.late} base units arrived after its refund: send them back by hand"
        return HeldRecovery(held, Finding.CONTRADICTED, why, BaseUnits(deposit - held.late - held.refunded))
    if held.refunded:
        return HeldRecovery(held, Finding.CLOSED, "its refund is on chain", BaseUnits(deposit - held.refunded))
    if not receipts:
        return HeldRecovery(held, Finding.UNPROVEN, "no receipt of yours was presented for it", nothing)
    best = max(receipts, key=_rank)
    known = best.spent + (best.retainer.remaining if best.retainer else 0)
    if known > deposit:
        why = f"its receipt knows of {known} base units, the node's history only of {deposit}: ask a node with history"
        return HeldRecovery(held, Finding.CONTRADICTED, why, best.spent)
    metered = best.retainer.metered if best.retainer else None
    return HeldRecovery(
        held,
        Finding.RECOVERED,
        "its highest receipt",
        best.spent,
        sequence=metered.sequence if metered else 0,
        usage_root=bytes.fromhex(metered.usage_hash) if metered else EMPTY_ROOT,
    )


def _rank(receipt: Receipt) -> tuple[int, int]:
    metered = receipt.retainer.metered if receipt.retainer else None
    return receipt.spent, metered.sequence if metered else 0
