"""An auditor against a provider: the honest one passes, and each lie is told apart with what gave it away."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs
from starlette.types import Receive, Scope, Send

from retainer.audit.findings import Finding, Kind
from retainer.audit.reading import read_onchain
from retainer.audit.settlement import OnChain, Sums, audit_settlement
from retainer.errors import UnknownSessionError
from retainer.protocol.amounts import base_units
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.errors import MessageError
from retainer.protocol.receipts import Receipt
from retainer.protocol.sla import SlaTerms
from retainer.protocol.usage import UsageEntry, usage_root
from retainer.protocol.usage_log import LogHeader, entry_line, read_log
from tests.books import key
from tests.integration.conftest import OPERATOR, Shop, receipt, reply
from tests.shop import PRICE

Evidence = tuple[OnChain, LogHeader, list[UsageEntry], dict[int, Receipt]]
Lie = Callable[[OnChain, LogHeader, list[UsageEntry], dict[int, Receipt]], Evidence]


@pytest_asyncio.fixture
async def evidence(shop: Shop) -> Evidence:
    """A session of six requests, the third of which broke the SLA, closed; with everything that was said about it."""

    async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, b"", 500)

    opening = await shop.opened()
    kept: dict[int, Receipt] = {}
    for number in range(1, 7):
        shop.upstream.app = broken if number == 3 else None
        kept[number] = receipt(await shop.use(opening, content=b"question %d" % number))
    closed = receipt(await shop.send(opening.close()))
    assert closed.tx_hash is not None
    onchain = await read_onchain(shop.chain, closed.tx_hash, PROGRAM_ID)
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    header = LogHeader(
        opening.action.channel_id,
        OPERATOR.pubkey(),
        record.price,
        SlaTerms.from_json(json.loads(record.sla_json or "")),
    )
    return onchain, header, list(await shop.ledger.usage(record.session_id)), kept


def found(evidence: Evidence) -> list[Finding]:
    onchain, header, entries, receipts = evidence
    lines = [header.line(), *map(entry_line, entries)]
    read, again = read_log(lines)
    return list(audit_settlement(onchain, read, again, receipts, Sums()))


def recommitted(onchain: OnChain, entries: list[UsageEntry]) -> OnChain:
    """The same settlement, had the provider rewritten its log before it settled."""
    spent, units = sum(entry.amount for entry in entries), sum(entry.units for entry in entries)
    root = usage_root(entries)
    refunded = base_units(onchain.closed.deposit - spent)
    closed = replace(onchain.closed, usage_root=root, settled=base_units(spent), charged_units=units, refunded=refunded)
    return replace(onchain, closed=closed)


def changed(entries: list[UsageEntry], index: int, **changes: Any) -> list[UsageEntry]:  # noqa: ANN401
    return [structs.replace(entry, **changes) if at == index else entry for at, entry in enumerate(entries)]


def summed(entries: list[UsageEntry]) -> list[UsageEntry]:
    """With totals that fit the amounts."""
    total, out = 0, []
    for entry in entries:
        total += entry.amount
        out.append(structs.replace(entry, cumulative=base_units(total)))
    return out


async def test_an_honest_settlement_has_nothing_found(evidence: Evidence) -> None:
    assert found(evidence) == []
    onchain, header, entries, receipts = evidence
    sums = Sums()
    assert list(audit_settlement(onchain, header, entries, receipts, sums)) == []
    assert (sums.requests, sums.free, sums.units, sums.amount) == (6, 1, 5, 5 * PRICE)
    assert sums.receipts == {1, 2, 3, 4, 5, 6}


async def test_charged_requests_without_a_receipt_are_counted(evidence: Evidence) -> None:
    """A request that was never made leaves a line, and no receipt in the hands of an agent that kept them all."""
    onchain, header, entries, receipts = evidence
    sums = Sums()
    kept = {number: one for number, one in receipts.items() if number not in (2, 3)}
    assert list(audit_settlement(onchain, header, entries, kept, sums)) == []
    assert (sums.unreceipted, sums.receipts) == (1, {1, 4, 5, 6})  # the third was free


LIES: dict[str, tuple[Lie, Kind, str]] = {
    "drops a line": (lambda o, h, e, r: (o, h, e[:2] + e[3:], r), Kind.ORDER, "lines are missing or moved"),
    "reorders": (lambda o, h, e, r: (o, h, [e[1], e[0], *e[2:]], r), Kind.ORDER, "lines are missing or moved"),
    "drops the last line before settling": (
        lambda o, h, e, r: (recommitted(o, e[:-1]), h, e[:-1], r),
        Kind.RECEIPT,
        "the agent holds a receipt for it",
    ),
    "overcharges one request": (
        lambda o, h, e, r: (
            recommitted(o, lied := summed(changed(e, 1, amount=base_units(2 * PRICE)))),
            h,
            lied,
            r,
        ),
        Kind.CHARGE,
        "1 units cost 8000, and 16000 was charged",
    ),
    "says that a breach was fine": (
        lambda o, h, e, r: (
            recommitted(o, lied := summed(changed(e, 2, charged=True, term=None, units=1, amount=base_units(PRICE)))),
            h,
            lied,
            r,
        ),
        Kind.VERDICT,
        "it was charged, and it broke accepted_statuses",
    ),
    "relabels a breach as fine": (
        lambda o, h, e, r: (
            recommitted(
                o,
                lied := summed(
                    changed(e, 2, status=200, body_bytes=9, charged=True, term=None, units=1, amount=base_units(PRICE))
                ),
            ),
            h,
            lied,
            r,
        ),
        Kind.RECEIPT,
        "signed one thing and logged another",
    ),
    "forges a latency": (
        lambda o, h, e, r: (recommitted(o, lied := changed(e, 3, latency_ms=e[3].latency_ms + 1)), h, lied, r),
        Kind.RECEIPT,
        "latency",
    ),
    "settles more than it logged": (
        lambda o, h, e, r: (
            replace(o, closed=replace(o.closed, settled=base_units(o.closed.settled + PRICE))),
            h,
            e,
            r,
        ),
        Kind.SETTLEMENT,
        "the log comes to 40000, and 48000 was settled",
    ),
    "keeps what belongs to neither": (
        lambda o, h, e, r: (replace(o, closed=replace(o.closed, refunded=base_units(o.closed.refunded - 1))), h, e, r),
        Kind.SETTLEMENT,
        "1 went to neither side",
    ),
    "shows another log": (
        lambda o, h, e, r: (o, h, changed(e, 0, timestamp_ms=1), r),
        Kind.ROOT,
        "this is not the log that was settled",
    ),
    "changes the terms": (
        lambda o, h, e, r: (o, replace(h, sla=SlaTerms(accepted_statuses=("2xx", "5xx"))), e, r),
        Kind.TERMS,
        "the terms were changed",
    ),
    "changes the price": (
        lambda o, h, e, r: (o, replace(h, price=base_units(PRICE + 1)), e, r),
        Kind.TERMS,
        "committed to 8000",
    ),
    "swaps the payee": (
        lambda o, h, e, r: (replace(o, closed=replace(o.closed, payee=key("friend"))), h, e, r),
        Kind.PARTIES,
        "the session was opened for",
    ),
    "reuses a receipt": (
        lambda o, h, e, r: (o, h, e, {**r, 5: r[4]}),
        Kind.RECEIPT,
        "signed one thing and logged another",
    ),
    "signs with another key": (
        lambda o, h, e, r: (
            replace(o, opened=replace(o.opened, operator=key("other"))),
            replace(h, operator=key("other")),
            e,
            r,
        ),
        Kind.RECEIPT,
        "not signed by the session's operator",
    ),
    "brings receipts of another session": (
        lambda o, h, e, r: (o, h, e, {**r, 1: structs.replace(r[1], reference=key("other"))}),
        Kind.RECEIPT,
        "about another session",
    ),
    "logs another session": (
        lambda o, h, e, r: (o, replace(h, session=key("other")), e, r),
        Kind.PARTIES,
        "the log is of session",
    ),
    "makes a free request cost": (
        lambda o, h, e, r: (recommitted(o, lied := summed(changed(e, 2, amount=base_units(1)))), h, lied, r),
        Kind.CHARGE,
        "it is called free and costs 1",
    ),
    "miscounts its total": (
        lambda o, h, e, r: (o, h, changed(e, 4, cumulative=base_units(1)), r),
        Kind.CHARGE,
        "the log puts the total at 1",
    ),
}


@pytest.mark.parametrize("lie", LIES)
async def test_each_lie_is_caught_by_what_gives_it_away(evidence: Evidence, lie: str) -> None:
    change, kind, sentence = LIES[lie]
    findings = found(change(*evidence))
    assert any(one.kind is kind and sentence in str(one) for one in findings), list(map(str, findings))


async def test_a_transaction_that_closed_nothing_is_no_settlement(shop: Shop) -> None:
    opening = await shop.opened()
    [opened] = await shop.chain.signatures_for(opening.action.channel_id)
    for signature in (opened, "1" * 64):
        with pytest.raises(UnknownSessionError):
            await read_onchain(shop.chain, signature, PROGRAM_ID)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1"),
        (["{}"], "no session line"),
        (["[1]"], "line 1"),
        (['{"type":"session","version":"2"}'], "version"),
    ],
)
def test_a_file_that_is_no_log_is_refused_by_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(MessageError, match=message):
        read_log(lines)


async def test_a_line_that_is_no_entry_is_named(evidence: Evidence) -> None:
    _, header, entries, _ = evidence
    lines = [header.line(), entry_line(entries[0]), entry_line(entries[1]).replace('"sequence"', '"number"')]
    _, read = read_log(lines)
    with pytest.raises(MessageError, match="line 3"):
        list(read)
