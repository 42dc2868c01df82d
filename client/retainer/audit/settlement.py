"""Whether a settlement paid exactly what was used: pure, over what the chain says, the log and the receipts.

What each witness can prove alone, and why all three are needed:

    the chain      what was paid and refunded, the terms' hash, and the hash of *some* log
    the log        with the chain: that this is the log, that its sums are what was paid, that each verdict follows from
                   its numbers. Not: that the numbers are true
    the receipts   what the operator told the agent at the time. A log that was rewritten before it was committed
                   contradicts them, and both are signed
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from retainer.audit.findings import Finding, Kind
from retainer.protocol.availability import AvailabilityMeter
from retainer.protocol.events import SessionClosed, SessionOpened
from retainer.protocol.receipts import Receipt, verify_receipt
from retainer.protocol.sla import Observation, judge, terms_hash
from retainer.protocol.usage import EMPTY_ROOT, UsageEntry, chain_hash
from retainer.protocol.usage_log import LogHeader


@dataclass(frozen=True, slots=True)
class OnChain:
    """A session's first and last word on chain, both from the program's own events."""

    opened: SessionOpened
    closed: SessionClosed


@dataclass(slots=True)
class Sums:
    """What the log comes to; base units, whole units, and how many requests were charged or free."""

    requests: int = 0
    free: int = 0
    units: int = 0
    amount: int = 0
    credit_units: int = 0  # whole units given back, since availability fell short
    short_windows: int = 0
    root: bytes = EMPTY_ROOT
    receipts: set[int] = field(default_factory=set)
    unreceipted: int = 0  # charged, and the agent has no receipt for it: never made, or its receipt was not kept


def audit_settlement(
    onchain: OnChain, header: LogHeader, entries: Iterable[UsageEntry], receipts: Mapping[int, Receipt], sums: Sums
) -> Iterator[Finding]:
    """Every contradiction, as it is met; ``sums`` is filled on the way. Needs the receipts in memory, not the log.

    ``receipts`` are by sequence number, and need not be all: an agent may have kept some only.
    """
    yield from _agreement(onchain, header)
    availability = AvailabilityMeter(header.sla.availability if header.sla else None)
    for entry in entries:
        availability.add(entry)
        yield from _entry(header, entry, sums)
        receipt = receipts.get(entry.sequence)
        if receipt is not None:
            sums.receipts.add(entry.sequence)
            yield from _receipt(onchain, entry, receipt, sums.root)
        elif entry.charged:
            sums.unreceipted += 1
    sums.credit_units, sums.short_windows = availability.credit_units, availability.short_windows
    yield from _totals(onchain.closed, header, sums)
    for sequence in sorted(receipts.keys() - sums.receipts):
        yield Finding(Kind.RECEIPT, "the agent holds a receipt for it, and the log does not have it", sequence)


def _agreement(onchain: OnChain, header: LogHeader) -> Iterator[Finding]:
    opened, closed = onchain.opened, onchain.closed
    if header.session != opened.session:
        yield Finding(Kind.PARTIES, f"the log is of session {header.session}, the settlement of {opened.session}")
    if header.operator != opened.operator:
        yield Finding(Kind.PARTIES, f"the log names operator {header.operator}, the session {opened.operator}")
    if (closed.payer, closed.payee, closed.mint) != (opened.payer, opened.payee, opened.mint):
        yield Finding(
            Kind.PARTIES, f"the settlement paid {closed.payee}, and the session was opened for {opened.payee}"
        )
    committed = opened.price_per_unit or any(opened.sla_hash)  # a stock `open` commits to nothing
    if committed and terms_hash(header.sla) != opened.sla_hash:
        yield Finding(
            Kind.TERMS,
            f"the log's SLA terms have hash {terms_hash(header.sla).hex()}, and the session committed to "
            f"{opened.sla_hash.hex()}: the terms were changed",
        )
    if opened.price_per_unit and header.price != opened.price_per_unit:
        yield Finding(
            Kind.TERMS, f"the log's price is {header.price}, and the session committed to {opened.price_per_unit}"
        )


def _entry(header: LogHeader, entry: UsageEntry, sums: Sums) -> Iterator[Finding]:
    expected = sums.requests + 1
    if entry.sequence != expected:
        yield Finding(
            Kind.ORDER, f"it stands where request {expected} should: lines are missing or moved", entry.sequence
        )
    sums.requests, sums.root = entry.sequence, chain_hash(sums.root, entry)
    seen = Observation(entry.status, entry.latency_ms, entry.body_bytes, entry.method, entry.schema_ok)
    verdict = judge(header.sla, seen)
    if verdict.breached and entry.charged:
        yield Finding(Kind.VERDICT, f"it was charged, and it broke {verdict.term}: {verdict.detail}", entry.sequence)
    elif verdict.breached and entry.term is None:
        # Free or not, availability counts it.
        yield Finding(Kind.VERDICT, f"it broke {verdict.term}, and the log names no term", entry.sequence)
    if not entry.charged:
        sums.free += 1
        if entry.amount or entry.units:
            yield Finding(Kind.CHARGE, f"it is called free and costs {entry.amount}", entry.sequence)
    elif entry.amount != entry.units * header.price:
        due = entry.units * header.price
        yield Finding(Kind.CHARGE, f"{entry.units} units cost {due}, and {entry.amount} was charged", entry.sequence)
    sums.units += entry.units
    sums.amount += entry.amount
    if entry.cumulative != sums.amount:
        yield Finding(
            Kind.CHARGE,
            f"the log puts the total at {entry.cumulative}, and its charges add up to {sums.amount}",
            entry.sequence,
        )
        sums.amount = entry.cumulative  # say it once, not for every later line


def _totals(closed: SessionClosed, header: LogHeader, sums: Sums) -> Iterator[Finding]:
    if sums.root != closed.usage_root:
        yield Finding(
            Kind.ROOT,
            f"the log hashes to {sums.root.hex()}, and the settlement committed to {closed.usage_root.hex()}: "
            "this is not the log that was settled",
        )
    due, units = sums.amount - sums.credit_units * header.price, sums.units - sums.credit_units
    less = f", less {sums.credit_units} units of credit for availability" if sums.credit_units else ""
    if due != closed.settled:
        yield Finding(Kind.SETTLEMENT, f"the log comes to {sums.amount}{less}, and {closed.settled} was settled")
    if units != closed.charged_units:
        yield Finding(
            Kind.SETTLEMENT,
            f"the log charges {sums.units} units{less}, and the settlement says {closed.charged_units}",
        )
    # Tokens that strangers sent to the escrow go to the payer as well.
    if closed.settled + closed.refunded < closed.deposit:
        missing = closed.deposit - closed.settled - closed.refunded
        yield Finding(Kind.SETTLEMENT, f"of the deposit of {closed.deposit}, {missing} went to neither side")


def _receipt(onchain: OnChain, entry: UsageEntry, receipt: Receipt, root: bytes) -> Iterator[Finding]:
    metered = receipt.retainer.metered if receipt.retainer else None
    if metered is None or receipt.reference != onchain.opened.session:
        yield Finding(Kind.RECEIPT, "its receipt is about another session", entry.sequence)
        return
    if not verify_receipt(receipt, onchain.opened.operator):
        yield Finding(Kind.RECEIPT, "its receipt is not signed by the session's operator", entry.sequence)
        return
    told = {
        "latency": (metered.latency_ms, entry.latency_ms),
        "status": (metered.status, entry.status),
        "price": (metered.amount, entry.amount),
        "units": (metered.units, entry.units),
        "term": (metered.term, entry.term),
        "request": (metered.request_digest, entry.request_digest),
        "response": (metered.response_digest, entry.response_digest),
        "total": (receipt.spent, entry.cumulative),
    }
    differing = [f"{name} {signed} became {logged}" for name, (signed, logged) in told.items() if signed != logged]
    if differing:
        yield Finding(
            Kind.RECEIPT, f"the operator signed one thing and logged another: {', '.join(differing)}", entry.sequence
        )
    elif metered.usage_hash != root.hex():
        yield Finding(
            Kind.RECEIPT,
            "the operator signed another head of the log at this point: earlier lines differ",
            entry.sequence,
        )
