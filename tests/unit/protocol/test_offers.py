from dataclasses import replace
from typing import Any

import pytest

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID
from retainer.protocol.errors import MessageError
from retainer.protocol.offers import SessionRequest
from retainer.protocol.session import VoucherSigner
from retainer.protocol.sla import NO_TERMS_HASH
from tests.unit.protocol.examples import BLOCKHASH, OPERATOR, REQUEST, SESSION, SPONSOR, TERMS

FULL = replace(
    REQUEST,
    unit_type="request",
    suggested_deposit=BaseUnits(1_000_000),
    minimum_deposit=BaseUnits(8000),
    description="answers",
    external_id="order-1",
    token_program=TOKEN_2022_PROGRAM_ID,
    fee_payer=True,
    fee_payer_key=SPONSOR.pubkey(),
    voucher_signer=VoucherSigner.OPERATOR,
    operator=OPERATOR.pubkey(),
    idle_timeout_options=(300, 600),
    min_voucher_delta=BaseUnits(1),
    ttl_seconds=3600,
    retainer=TERMS,
)
RESUME: dict[str, Any] = {
    "channel_id": SESSION,
    "idle_timeout_seconds": 300,
    "recent_blockhash": None,
    "recent_slot": None,
    "grace_period_seconds": None,
}


@pytest.mark.parametrize("request_", [REQUEST, FULL, replace(REQUEST, **RESUME)])
def test_requests_come_back(request_: SessionRequest) -> None:
    assert SessionRequest.from_json(request_.to_json()) == request_


def test_large_numbers_travel_as_strings_and_absent_ones_not_at_all() -> None:
    details: Any = replace(REQUEST, recent_slot=2**64 - 1).to_json()["methodDetails"]
    assert details["recentSlot"] == "18446744073709551615"
    assert details["recentBlockhash"] == str(BLOCKHASH)
    assert "tokenProgram" not in details
    assert "retainer" not in details


def test_the_signer_defaults_to_the_client_and_unknown_fields_are_ignored() -> None:
    message: Any = REQUEST.to_json()
    del message["methodDetails"]["voucherSigner"]
    del message["methodDetails"]["feePayer"]
    message["methodDetails"]["distributionSplits"] = []
    message["methodDetails"]["novel"] = {"a": [1]}
    message["novel"] = None
    assert SessionRequest.from_json(message) == REQUEST


def test_terms_without_sla_commit_to_zero() -> None:
    bare = replace(TERMS, sla=None)
    assert bare.sla_hash == NO_TERMS_HASH
    assert "slaTerms" not in bare.to_json()
    assert bare.to_json()["slaHash"] == "0" * 64
    assert TERMS.sla is not None
    assert TERMS.sla_hash == TERMS.sla.hash()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recent_blockhash": None}, "recentBlockhash"),
        ({"recent_slot": None}, "recentSlot"),
        ({"grace_period_seconds": None}, "gracePeriodSeconds"),
        ({"idle_timeout_seconds": 300}, "idleTimeoutSeconds"),
        ({**RESUME, "idle_timeout_seconds": None}, "idleTimeoutSeconds"),
        ({**RESUME, "recent_slot": 1}, "recentSlot"),
        ({**RESUME, "recent_blockhash": BLOCKHASH}, "recentBlockhash"),
        ({**RESUME, "idle_timeout_options": (300,)}, "idleTimeoutOptionsSeconds"),
        ({"fee_payer": True}, "feePayerKey"),
        ({"voucher_signer": VoucherSigner.OPERATOR}, "operator"),
        ({"token_program": SESSION}, "tokenProgram"),
        ({"idle_timeout_options": ()}, "idleTimeoutOptionsSeconds"),
        ({"idle_timeout_options": (600, 300)}, "idleTimeoutOptionsSeconds"),
        ({"idle_timeout_options": (300, 300)}, "idleTimeoutOptionsSeconds"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(MessageError, match=rf"methodDetails\.{named}"):
        replace(REQUEST, **change)


def test_the_refusal_says_which_kind_of_channel_it_is_about() -> None:
    with pytest.raises(MessageError, match="a new channel needs it"):
        replace(REQUEST, recent_slot=None)
    with pytest.raises(MessageError, match="absent for a resumed channel"):
        replace(REQUEST, **{**RESUME, "recent_slot": 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 8000),
        ("currency", "USDC"),
        ("recipient", ""),
        ("unitType", 1),
        ("suggestedDeposit", "-1"),
        ("minimumDeposit", "1.5"),
        ("description", 1),
        ("externalId", 1),
        ("methodDetails", []),
        ("methodDetails.network", "testnet"),
        ("methodDetails.channelProgram", "x"),
        ("methodDetails.channelId", "x"),
        ("methodDetails.recentBlockhash", "x"),
        ("methodDetails.recentSlot", 352114093),
        ("methodDetails.decimals", 10),
        ("methodDetails.decimals", "6"),
        ("methodDetails.tokenProgram", "x"),
        ("methodDetails.feePayer", "true"),
        ("methodDetails.feePayerKey", "x"),
        ("methodDetails.voucherSigner", "server"),
        ("methodDetails.operator", "x"),
        ("methodDetails.minVoucherDelta", 1),
        ("methodDetails.ttlSeconds", -1),
        ("methodDetails.idleTimeoutOptionsSeconds", 300),
        ("methodDetails.idleTimeoutOptionsSeconds", [0]),
        ("methodDetails.idleTimeoutSeconds", 2592001),
        ("methodDetails.gracePeriodSeconds", 0),
        ("methodDetails.gracePeriodSeconds", 2**32),
        ("methodDetails.distributionSplits", [{"recipient": "x", "shareBps": 1}]),
        ("methodDetails.retainer", "1"),
        ("methodDetails.retainer.version", "2"),
        ("methodDetails.retainer.offerId", ""),
        ("methodDetails.retainer.operator", "x"),
        ("methodDetails.retainer.pricePerUnit", 8000),
        ("methodDetails.retainer.expiresAt", "never"),
        ("methodDetails.retainer.slaTerms", []),
        ("methodDetails.retainer.slaTerms.minBodyBytes", -1),
        ("methodDetails.retainer.slaHash", "00"),
    ],
)
def test_a_bad_field_is_named(field: str, value: object) -> None:
    message: Any = FULL.to_json()
    *outer, last = field.split(".")
    inside = message
    for name in outer:
        inside = inside[name]
    inside[last] = value
    with pytest.raises(MessageError, match=rf"^request\.{field} "):
        SessionRequest.from_json(message)


def test_a_hash_that_is_not_that_of_the_terms_shown_is_refused() -> None:
    """An agent that reads one set of terms must not commit to another."""
    message: Any = FULL.to_json()
    message["methodDetails"]["retainer"]["slaHash"] = "11" * 32
    with pytest.raises(MessageError, match="slaHash is not the hash"):
        SessionRequest.from_json(message)
