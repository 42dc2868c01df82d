"""The agent's own notes against what was signed: honest pairs pass, and each lie told from the start is named."""

from dataclasses import replace

import pytest
from msgspec import structs
from solders.keypair import Keypair

from retainer.audit.findings import Kind
from retainer.audit.witnessed import contradicted
from retainer.protocol.amounts import base_units
from retainer.protocol.receipts import MeteredDetails, Receipt, ReceiptExtension
from retainer.protocol.session import SessionState
from retainer.protocol.sla import SlaTerms
from retainer.stores.receipts import KeptReceipt, Observation

TERMS = SlaTerms(max_latency_ms=400)
OPERATOR = Keypair().pubkey()


def kept(sequence: int, *, signed: int = 20, took: int = 25, **seen: object) -> KeptReceipt:
    """A request that took so many milliseconds, and what was signed about it."""
    request, response = f"{sequence:064x}", f"{sequence + 100:064x}"
    metered = MeteredDetails(
        sequence=sequence,
        amount=base_units(8_000),
        units=1,
        charged=True,
        status=200,
        latency_ms=signed,
        request_digest=request,
        response_digest=response,
        usage_hash="00" * 32,
    )
    receipt = Receipt(
        reference=OPERATOR,
        timestamp="2026-11-21T00:00:00Z",
        accepted_cumulative=base_units(8_000),
        spent=base_units(8_000),
        idle_timeout_seconds=60,
        retainer=ReceiptExtension(
            state=SessionState.ACTIVE, remaining=base_units(0), operator=OPERATOR, metered=metered
        ),
    )
    saw = Observation(
        received_at=1, first_byte_ms=took, latency_ms=took, status=200, request_digest=request, body_digest=response
    )
    return KeptReceipt(receipt, replace(saw, **seen))  # type: ignore[arg-type]


HONEST = [kept(1), kept(2, signed=300, took=310), kept(3)]


def test_honest_receipts_and_bare_ones_pass() -> None:
    bare = KeptReceipt(HONEST[0].receipt)
    lifecycle = structs.replace(HONEST[0].receipt, retainer=None)
    assert list(contradicted([*HONEST, bare, KeptReceipt(lifecycle)], TERMS)) == []
    assert list(contradicted([], None)) == []


@pytest.mark.parametrize(
    ("lie", "kind", "sentence"),
    [
        (kept(4, status=500), Kind.RECEIPT, "request 4: status 500 came, and 200 was signed"),
        (kept(4, body_digest="ab" * 32), Kind.RECEIPT, "a body with digest abab"),
        (kept(3, request_digest="ab" * 32), Kind.RECEIPT, "request 3: one receipt was handed out for 2 different"),
        (kept(4, request_digest="ab" * 32), Kind.RECEIPT, "came with the answer to another request"),
        (kept(4, took=900), Kind.LATENCY, "20 ms was signed, and by the agent's clock it took 900 ms"),
    ],
)
def test_each_lie_is_named(lie: KeptReceipt, kind: Kind, sentence: str) -> None:
    found = list(contradicted([*HONEST, lie], TERMS))
    assert any(one.kind is kind and sentence in str(one) for one in found), list(map(str, found))


def test_what_a_retry_shows_is_no_evidence() -> None:
    """A replay carries the receipt alone where the body was too long to keep, and its times are of the replay."""
    retry = kept(4, took=5_000, status=204, body_digest="ab" * 32, repeated=True)
    assert list(contradicted([*HONEST, retry], TERMS)) == []


def test_a_slow_way_to_everything_is_the_networks_doing() -> None:
    far = [kept(sequence, took=350) for sequence in (1, 2, 3)] + [kept(4, took=900)]
    assert list(contradicted(far, TERMS)) == []
    assert list(contradicted([kept(1), kept(2, took=900)], None)) == []
