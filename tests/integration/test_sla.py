"""What a session promised beyond single answers: bodies of an agreed shape, and most requests kept."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from starlette.types import Receive, Scope, Send

from retainer.audit.findings import Kind
from retainer.audit.reading import read_onchain
from retainer.audit.settlement import OnChain, Sums, audit_settlement
from retainer.chain.testing import token_balance
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.usage import UsageEntry
from retainer.protocol.usage_log import LogHeader, entry_line, read_log
from retainer_provider.books.records import SessionRecord
from retainer_provider.books.terms import session_terms
from tests.integration.conftest import AGENT, OPERATOR, TOKENS, Shop, receipt, reply
from tests.shop import DEPOSIT, PRICE, Opening

SCHEMA = {"type": "object", "required": ["answer"], "properties": {"answer": {"type": "number"}}}
FITS, DOES_NOT = b'{"answer": 4.2}', b'{"answer": "four"}'
NESTED = b"[" * 2_000  # no parser here reads it, and no answer that cannot be read is one of the agreed shape


@pytest.fixture(params=["operator", "client"])
def raw_settings(raw_settings: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """In both modes: a shape for bodies, and of each 10 requests at least 9 kept, else a tenth back."""
    (tmp_path / "answer.json").write_text(json.dumps(SCHEMA))
    offer = raw_settings["offers"]["standard"]
    offer["voucher_signer"] = request.param
    offer["sla"] |= {
        "response_schema": "answer.json",
        "availability": {"min_bps": 9_000, "credit_bps": 1_000, "window_requests": 10},
    }
    return raw_settings


async def asked(shop: Shop, bodies: Sequence[bytes]) -> tuple[Opening, list[str | None]]:
    """A session that got these bodies for answers, and the term that each one's receipt names."""
    opening, terms = await shop.opened(), []
    by_voucher = shop.settings.offers["standard"].voucher_signer == "client"
    for number, body in enumerate(bodies, 1):

        async def answer(_scope: Scope, _receive: Receive, send: Send, body: bytes = body) -> None:
            await reply(send, body)

        shop.upstream.app = answer
        header = opening.paying(number * PRICE) if by_voucher else opening.use()
        given = await shop.send(header, "POST", content=b"question %d" % number)
        assert given.content == body, "whatever breaks, it is answered"
        extension = receipt(given).retainer
        assert extension is not None
        assert extension.metered is not None
        terms.append(extension.metered.term)
    return opening, terms


async def closed(shop: Shop, opening: Opening, number: int) -> tuple[SessionRecord, OnChain, int | None]:
    """The session settled, by the books and by the chain, and the credit that the receipt of the close names."""
    by_voucher = shop.settings.offers["standard"].voucher_signer == "client"
    answer = await shop.send(opening.closing(number * PRICE) if by_voucher else opening.close())
    ended = receipt(answer)
    assert ended.tx_hash is not None
    assert ended.retainer is not None
    record = await shop.ledger.session(str(opening.action.channel_id))
    assert record is not None
    return record, await read_onchain(shop.chain, ended.tx_hash, PROGRAM_ID), ended.retainer.credited


async def audited(
    shop: Shop, record: SessionRecord, onchain: OnChain, change: Callable[[UsageEntry], UsageEntry] | None = None
) -> tuple[list[Kind], Sums]:
    """What an auditor finds, who has the exported log alone."""
    header = LogHeader(onchain.opened.session, OPERATOR.pubkey(), record.price, session_terms(record))
    entries = [change(entry) if change else entry for entry in await shop.ledger.usage(record.session_id)]
    read, again = read_log([header.line(), *map(entry_line, entries)])
    sums = Sums()
    return [finding.kind for finding in audit_settlement(onchain, read, again, {}, sums)], sums


async def test_a_body_of_another_shape_is_free_and_the_log_says_so(shop: Shop) -> None:
    opening, terms = await asked(shop, [FITS, DOES_NOT, b"not json", NESTED, b'{"answer": NaN}', FITS])
    assert terms == [None, *["response_schema"] * 4, None]
    usage = await shop.ledger.usage(str(opening.action.channel_id))
    assert [entry.schema_ok for entry in usage] == [True, False, False, False, False, True]
    assert [entry.charged for entry in usage] == [True, False, False, False, False, True]


async def test_too_many_breaches_give_back_whole_units_at_the_close(shop: Shop) -> None:
    """Ten requests, two broken: of the eight charged a tenth goes back, rounded up. Ten more, one broken: nothing."""
    bodies = [FITS] * 8 + [DOES_NOT] * 2 + [FITS] * 9 + [DOES_NOT]
    opening, _ = await asked(shop, bodies)
    record, onchain, credited = await closed(shop, opening, len(bodies))
    assert (record.spent, record.settled, credited) == (17 * PRICE, 16 * PRICE, PRICE)
    assert (onchain.closed.settled, onchain.closed.charged_units) == (16 * PRICE, 16)
    assert record.refund == DEPOSIT - 16 * PRICE
    assert await token_balance(shop.chain, AGENT.pubkey(), shop.mint) == TOKENS - 16 * PRICE
    findings, sums = await audited(shop, record, onchain)
    assert findings == []
    assert (sums.credit_units, sums.short_windows) == (1, 1)


async def test_availability_that_was_kept_costs_nothing(shop: Shop) -> None:
    opening, _ = await asked(shop, [FITS] * 9 + [DOES_NOT])
    record, onchain, credited = await closed(shop, opening, 10)
    assert (record.settled, onchain.closed.settled, credited) == (9 * PRICE, 9 * PRICE, None)
    assert (await audited(shop, record, onchain))[0] == []


async def test_an_auditor_sees_a_credit_that_was_kept_back(shop: Shop) -> None:
    """The provider hides the breaches from availability, or says that a body fitted which did not earn its credit."""
    opening, _ = await asked(shop, [FITS] * 8 + [DOES_NOT] * 2)
    record, onchain, _ = await closed(shop, opening, 10)
    greedy = replace(onchain, closed=replace(onchain.closed, settled=record.spent, charged_units=8))
    assert (await audited(shop, record, greedy))[0] == [Kind.SETTLEMENT] * 2
    nameless, _ = await audited(shop, record, onchain, lambda entry: structs.replace(entry, term=None))
    assert nameless.count(Kind.VERDICT) == 2
    assert Kind.ROOT in nameless
