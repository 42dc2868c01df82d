"""What the closing transaction must say, computed from the books and the account on chain. Pure."""

from dataclasses import dataclass

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionAccount
from retainer_provider.books.records import SessionRecord, SettlementPlan


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Books and chain contradict each other; ``reason`` is a sentence for the operator of the service."""

    reason: str


def plan_settlement(
    record: SessionRecord, account: SessionAccount, credit_units: int = 0, *, after_fork: bool = False
) -> SettlementPlan | Mismatch:
    """Settle what is spent and refund the rest of the account's deposit, unless books and account do not fit.

    ``credit_units`` are given back out of what is spent: so many at most as are not settled on chain already.
    ``after_fork`` says that the account is what is left for good of a deposit that was credited before it was final:
    what it cannot pay is the payee's loss, and counts as refunded, since it never left the payer.
    """
    reason = _contradiction(record, account, after_fork=after_fork)
    if reason is not None:
        return Mismatch(f"session {record.session_id}: {reason}")
    given_back = min(credit_units, record.units_charged - account.charged_units)
    plan = plan_refund(record, max(given_back, _unpayable_units(record, account)))
    if plan.amount < account.settled:
        return Mismatch(f"session {record.session_id}: {account.settled} are settled, of {plan.amount} to be settled")
    return plan


def plan_refund(record: SessionRecord, credit_units: int = 0) -> SettlementPlan:
    """The same by the books alone, which for a custodial session are all there is."""
    credit_units = min(credit_units, record.units_charged)
    amount = record.spent - credit_units * record.price
    return SettlementPlan(
        amount=BaseUnits(amount),
        charged_units=record.units_charged - credit_units,
        refund=BaseUnits(record.deposit - amount),
        usage_root=record.usage_root,
        opened_at=record.opened_at,
    )


def _unpayable_units(record: SessionRecord, account: SessionAccount) -> int:
    """Units charged that the program does not pay, by what a fork left in the account."""
    voucher = record.voucher
    if voucher is not None and voucher.voucher.cumulative > account.deposit:
        # The program takes no voucher above the deposit; without one it pays no more than it has.
        return record.units_charged - account.charged_units
    return -(-max(0, record.spent - account.deposit) // max(record.price, 1))


def _contradiction(record: SessionRecord, account: SessionAccount, *, after_fork: bool) -> str | None:
    # The address fixes payer, payee, mint, signer, salt and slot; opened_at tells this life of it from others (C48).
    if account.opened_at != record.opened_at:
        return f"the account was opened at {account.opened_at}, the books say {record.opened_at}"
    if account.operator != record.operator:
        return f"the account's operator is {account.operator}, the books say {record.operator}"
    if account.settled > record.spent or account.charged_units > record.units_charged:
        return (
            f"{account.settled} base units are settled on chain and only {record.spent} spent in the books: "
            "were they restored from an old backup?"
        )
    if account.deposit != record.deposit and not (after_fork and account.deposit < record.deposit):
        return f"the account's deposit is {account.deposit}, the books say {record.deposit}"
    if account.price_per_unit and record.spent != record.units_charged * account.price_per_unit:
        return (
            f"{record.units_charged} units at the committed price of {account.price_per_unit} "
            f"are not the {record.spent} spent"
        )
    return None
