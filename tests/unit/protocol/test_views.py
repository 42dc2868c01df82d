import json
from dataclasses import replace
from typing import Any

import pytest

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import MessageError
from retainer.protocol.session import SessionState
from retainer.protocol.sla import SlaTerms
from retainer.protocol.tokens import token_symbol
from retainer.protocol.views import SessionView, TokenView
from tests.unit.protocol.examples import MINT, OPERATOR, PAYEE, PAYER, SESSION

VIEW = SessionView(
    session_id=str(SESSION),
    offer_id="basic",
    agent=PAYER.pubkey(),
    provider=PAYEE.pubkey(),
    operator=OPERATOR.pubkey(),
    token=TokenView(MINT, token_symbol(MINT), 6),
    deposit=BaseUnits(1_000_000),
    remaining=BaseUnits(760_000),
    spent=BaseUnits(240_000),
    price_per_request=BaseUnits(8000),
    requests_made=30,
    requests_left=95,
    started_at=1_800_000_000,
    expires_at=1_900_000_000,
    sla=SlaTerms(max_latency_ms=2000),
    state=SessionState.ACTIVE,
    creation_signature="signature",
    pda=SESSION,
    metadata={"purpose": "test"},
)
CLOSED = replace(
    VIEW,
    state=SessionState.REFUNDED,
    settled=BaseUnits(240_000),
    refund=BaseUnits(760_000),
    settlement_signature="settlement",
)
BARE = replace(VIEW, token=TokenView(PAYER.pubkey(), None, 0), requests_left=None, expires_at=None, sla=None)


@pytest.mark.parametrize("view", [VIEW, CLOSED, BARE, replace(BARE, creation_signature=None, metadata={})])
def test_views_come_back_from_their_json(view: SessionView) -> None:
    assert SessionView.from_json(json.loads(json.dumps(view.to_json()))) == view


def test_amounts_are_strings_with_a_decimal_beside_them() -> None:
    written = CLOSED.to_json()
    assert (written["refund"], written["refundDisplay"]) == ("760000", "0.76")
    assert (written["pricePerRequest"], written["pricePerRequestDisplay"]) == ("8000", "0.008")
    assert (written["deposit"], written["depositDisplay"]) == ("1000000", "1.0")
    assert "refund" not in VIEW.to_json()
    assert "refundDisplay" not in VIEW.to_json()


def test_display_amounts_are_never_read() -> None:
    assert SessionView.from_json({**VIEW.to_json(), "depositDisplay": "999"}) == VIEW


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sessionId", ""),
        ("offerId", 1),
        ("agent", "x"),
        ("provider", "x"),
        ("operator", "x"),
        ("pda", "x"),
        ("deposit", 1.0),
        ("remaining", 1),
        ("spent", "-1"),
        ("pricePerRequest", None),
        ("requestsMade", "30"),
        ("requestsLeft", 95),
        ("startedAt", "now"),
        ("expiresAt", 0),
        ("sla", {}),
        ("state", "open"),
        ("creationSignature", 1),
        ("metadata", {"a": 1}),
        ("settled", 1),
        ("refund", 1),
        ("settlementSignature", ""),
        ("token", None),
    ],
)
def test_a_bad_field_is_named(field: str, value: Any) -> None:  # noqa: ANN401 - any JSON
    with pytest.raises(MessageError, match=rf"^session\.{field}"):
        SessionView.from_json({**VIEW.to_json(), field: value})


def test_only_known_mints_have_a_symbol() -> None:
    assert token_symbol(MINT) == "USDC"
    assert token_symbol(PAYER.pubkey()) is None
