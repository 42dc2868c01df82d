from typing import Any

import pytest
from msgspec.structs import replace
from solders.keypair import Keypair

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import MAX_CREDENTIAL_BYTES
from retainer.protocol.encoding import canonical_json, encode_base64url
from retainer.protocol.errors import MessageError, SignatureError
from retainer.protocol.receipts import (
    Receipt,
    parse_receipt,
    receipt_header,
    receipt_message,
    sign_receipt,
    verify_receipt,
)
from retainer.protocol.session import SessionState
from tests.golden import golden
from tests.unit.protocol.examples import OPERATOR, STRANGER

METERED, CLOSED = (Receipt.from_json(case["receipt"]) for case in golden("receipts"))


@pytest.mark.parametrize("case", golden("receipts"))
def test_receipts_are_written_and_signed_as_in_the_vectors(case: dict[str, Any]) -> None:
    receipt = parse_receipt(case["header"])
    assert receipt.to_json() == case["receipt"]
    assert receipt_header(receipt) == case["header"]
    assert receipt_message(receipt).decode() == case["signed"]
    key = Keypair.from_seed(bytes.fromhex(case["seed"]))
    assert verify_receipt(receipt, key.pubkey())
    assert sign_receipt(receipt, key) == receipt


def changed(receipt: Receipt, **changes: Any) -> Receipt:  # noqa: ANN401 - any field of the extension
    assert receipt.retainer is not None
    return replace(receipt, retainer=replace(receipt.retainer, **changes))


def test_every_part_of_a_receipt_is_under_the_signature() -> None:
    assert METERED.retainer is not None
    assert METERED.retainer.metered is not None
    for forged in (
        replace(METERED, spent=BaseUnits(1)),
        replace(METERED, accepted_cumulative=BaseUnits(1)),
        replace(METERED, reference=STRANGER.pubkey()),
        replace(METERED, timestamp="2026-01-02T03:04:06Z"),
        replace(METERED, challenge_id=None),
        replace(METERED, idle_timeout_seconds=301),
        replace(CLOSED, refunded=BaseUnits(1)),
        replace(CLOSED, tx_hash=None),
        changed(METERED, remaining=BaseUnits(1)),
        changed(METERED, state=SessionState.DEPLETED),
        changed(METERED, metered=None),
        changed(METERED, metered=replace(METERED.retainer.metered, amount=BaseUnits(1))),
        changed(METERED, metered=replace(METERED.retainer.metered, term="max_latency_ms")),
        changed(METERED, signature=None),
        replace(METERED, retainer=None),
    ):
        assert not verify_receipt(forged, OPERATOR.pubkey())


def test_only_the_operator_of_the_session_counts() -> None:
    """A receipt that names another operator, and is signed by it, is somebody else's."""
    foreign = sign_receipt(changed(METERED, operator=STRANGER.pubkey()), STRANGER)
    assert verify_receipt(foreign, STRANGER.pubkey())
    assert not verify_receipt(foreign, OPERATOR.pubkey())


@pytest.mark.parametrize("receipt", [METERED, replace(METERED, retainer=None)])
def test_nobody_signs_in_the_operators_name(receipt: Receipt) -> None:
    with pytest.raises(SignatureError):
        sign_receipt(receipt, STRANGER)


def test_a_stock_receipt_is_read_without_extension() -> None:
    stock = replace(METERED, retainer=None)
    message = canonical_json({**stock.to_json(), "externalId": "unknown here"})
    assert parse_receipt(encode_base64url(message)) == stock


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "evm"),
        ("intent", "charge"),
        ("status", "failed"),
        ("reference", "x"),
        ("timestamp", "yesterday"),
        ("challengeId", ""),
        ("acceptedCumulative", 1),
        ("spent", "1.0"),
        ("idleTimeoutSeconds", 0),
        ("refunded", "-1"),
        ("retainer.version", "2"),
        ("retainer.state", "happy"),
        ("retainer.remaining", 1),
        ("retainer.operator", ""),
        ("retainer.signature", "x"),
        ("retainer.metered.sequence", -1),
        ("retainer.metered.amount", 1),
        ("retainer.metered.units", 1),
        ("retainer.metered.charged", "yes"),
        ("retainer.metered.term", ""),
        ("retainer.metered.status", 600),
        ("retainer.metered.latencyMs", "1"),
        ("retainer.metered.requestDigest", "0"),
        ("retainer.metered.responseDigest", "0"),
        ("retainer.metered.usageHash", "0"),
    ],
)
def test_a_bad_field_is_named(field: str, value: object) -> None:
    message: Any = METERED.to_json()
    *outer, last = field.split(".")
    inside = message
    for name in outer:
        inside = inside[name]
    inside[last] = value
    with pytest.raises(MessageError, match=rf"^receipt\.{field} "):
        parse_receipt(encode_base64url(canonical_json(message)))


def test_a_receipt_may_be_as_long_as_the_cap() -> None:
    header = receipt_header(METERED)
    assert parse_receipt(header.ljust(MAX_CREDENTIAL_BYTES)) == METERED
    with pytest.raises(MessageError, match="longer"):
        parse_receipt(header.ljust(MAX_CREDENTIAL_BYTES + 1))


@pytest.mark.parametrize("value", ["", "e30=", "e30", encode_base64url(b"[]")])
def test_what_is_no_receipt_is_refused(value: str) -> None:
    with pytest.raises(MessageError):
        parse_receipt(value)
