import json
from dataclasses import replace
from typing import Any

import pytest

from retainer.protocol.actions import (
    Action,
    CloseAction,
    OpenAction,
    TopUpAction,
    UseAction,
    VoucherAction,
    action_from_json,
    action_to_json,
)
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import sign_proof, verify_proof
from retainer.protocol.challenges import parse_challenge_headers, verify_challenge_id
from retainer.protocol.constants import MAX_CREDENTIAL_BYTES, MAX_TRANSACTION_BYTES
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.encoding import canonical_json, decode_base64url, encode_base64url
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.pda import derive_session
from retainer.protocol.vouchers import Voucher, sign_voucher, verify_voucher
from tests.golden import golden
from tests.unit.protocol.examples import OPEN, PAYER, SESSION, SIGNER, STRANGER, challenge

CHALLENGE = challenge()
PROOF = sign_proof(CHALLENGE.id, SESSION, PAYER)
VOUCHER = sign_voucher(Voucher(SESSION, BaseUnits(8000), 1234), SIGNER)
OPEN_ACTION = OpenAction(
    channel_id=SESSION,
    payer=OPEN.payer,
    payee=OPEN.payee,
    mint=OPEN.mint,
    authorized_signer=OPEN.authorized_signer,
    salt=OPEN.salt,
    deposit=BaseUnits(OPEN.deposit),
    grace_period=OPEN.grace_period,
    open_slot=OPEN.open_slot,
    transaction=b"signed",
    idle_timeout_seconds=300,
    authentication=PROOF,
)
ACTIONS: dict[str, Action] = {
    "open": OPEN_ACTION,
    "open of a transaction sent already": replace(
        OPEN_ACTION, transaction=None, signature=PAYER.sign_message(b"sent"), authentication=None
    ),
    "use": UseAction(SESSION, PROOF),
    "voucher": VoucherAction(SESSION, VOUCHER),
    "topUp": TopUpAction(SESSION, BaseUnits(5), b"signed"),
    "close, metered": CloseAction(SESSION, authentication=PROOF),
    "close, by voucher": CloseAction(SESSION, voucher=VOUCHER),
}


def message_of(header: str) -> Any:  # noqa: ANN401 - JSON, to be changed by a test
    return json.loads(decode_base64url(header.removeprefix("Payment "), "credential"))


def header_of(message: Any) -> str:  # noqa: ANN401 - JSON, as a test changed it
    return "Payment " + encode_base64url(json.dumps(message).encode())


@pytest.mark.parametrize("name", ACTIONS)
def test_credentials_come_back(name: str) -> None:
    credential = Credential(CHALLENGE, ACTIONS[name])
    assert parse_authorization(authorization_header(credential)) == credential


@pytest.mark.parametrize("case", golden("credentials"), ids=lambda case: str(case["voucherSigner"]))
def test_credentials_of_a_stock_client_are_read_and_written_byte_for_byte(case: dict[str, Any]) -> None:
    """solana-pay-kit 0.10.0 read the challenge's header and answered with these."""
    (issued,) = parse_challenge_headers([case["challengeHeader"]])
    for vector in case["credentials"]:
        credential = parse_authorization(vector["header"])
        action = credential.action
        assert authorization_header(credential) == vector["header"]
        assert action_to_json(action) == vector["payload"]
        assert credential.challenge == replace(issued, description=None)
        assert verify_challenge_id(credential.challenge, [bytes.fromhex(case["secret"])])
        assert str(action.channel_id) == case["channelId"]
        match action:
            case OpenAction():
                assert derive_session(action.seeds)[0] == action.channel_id
            case VoucherAction():
                assert verify_voucher(action.signed)
            case UseAction():
                assert verify_proof(action.authentication, action.channel_id)
            case CloseAction() | TopUpAction():
                pass


def test_the_self_sent_deposit_is_an_extension_under_capabilities() -> None:
    payload: Any = action_to_json(ACTIONS["open of a transaction sent already"])
    assert payload["capabilities"] == {"retainer": {"signature": str(PAYER.sign_message(b"sent"))}}
    assert "transaction" not in payload


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("open", "action", "pay"),
        ("open", "channelId", "x"),
        ("open", "payer", 1),
        ("open", "payee", "x"),
        ("open", "mint", "x"),
        ("open", "authorizedSigner", "x"),
        ("open", "salt", 42),
        ("open", "salt", "18446744073709551616"),
        ("open", "depositAmount", "1.0"),
        ("open", "gracePeriodSeconds", "900"),
        ("open", "gracePeriodSeconds", 0),
        ("open", "openSlot", -1),
        ("open", "transaction", "not base64!"),
        ("open", "transaction", "c2lnbmVk="),
        ("open", "transaction", ""),
        ("open", "transaction", "A" * (MAX_TRANSACTION_BYTES * 2)),
        ("open", "idleTimeoutSeconds", 0),
        ("open", "authentication", "proof"),
        ("open", "authentication.type", "bearer"),
        ("open", "authentication.signature", "x"),
        ("open", "bump", 255),
        ("open", "bump", None),
        ("open", "voucher", {}),
        ("open", "distributionSplits", [{"recipient": "x", "shareBps": 1}]),
        ("open", "authorizationPolicy", "any"),
        ("open", "capabilities", []),
        ("open of a transaction sent already", "capabilities.retainer", 1),
        ("open of a transaction sent already", "capabilities.retainer.signature", "x"),
        ("use", "authentication", None),
        ("use", "authentication.challengeId", ""),
        ("use", "authentication.payer", "x"),
        ("voucher", "voucher", []),
        ("voucher", "voucher.signer", "x"),
        ("voucher", "voucher.voucher", None),
        ("voucher", "voucher.voucher.cumulativeAmount", 1),
        ("voucher", "voucher.voucher.channelId", str(STRANGER.pubkey())),
        ("topUp", "additionalAmount", 5),
        ("topUp", "transaction", "YQ"),
        ("close, metered", "authentication", {}),
        ("close, by voucher", "voucher.signatureType", "secp256r1"),
    ],
)
def test_a_bad_field_is_named(name: str, field: str, value: object) -> None:
    payload: Any = action_to_json(ACTIONS[name])
    *outer, last = field.split(".")
    inside = payload
    for part in outer:
        inside = inside[part]
    inside[last] = value
    with pytest.raises(MessageError, match=rf"^credential\.payload\.{field}"):
        action_from_json(Fields(payload, "credential.payload"))


@pytest.mark.parametrize("name", ["open", "use", "voucher", "topUp", "close, metered"])
def test_every_required_field_is_asked_for(name: str) -> None:
    payload = action_to_json(ACTIONS[name])
    optional = {"idleTimeoutSeconds"} | ({"authentication"} if name == "open" else set())
    for field in payload.keys() - optional:
        rest = {other: value for other, value in payload.items() if other != field}
        with pytest.raises(MessageError, match=field):
            action_from_json(Fields(rest, "payload"))


def test_what_excludes_each_other_is_refused() -> None:
    with pytest.raises(MessageError, match="transaction"):
        replace(OPEN_ACTION, signature=PAYER.sign_message(b"sent"))
    with pytest.raises(MessageError, match="transaction"):
        replace(OPEN_ACTION, transaction=None)
    with pytest.raises(MessageError, match="authentication or voucher"):
        CloseAction(SESSION, authentication=PROOF, voucher=VOUCHER)
    with pytest.raises(MessageError, match="authentication or voucher"):
        CloseAction(SESSION)


@pytest.mark.parametrize("field", ["id", "realm", "method", "intent", "request"])
def test_the_challenge_must_be_echoed_whole(field: str) -> None:
    message = message_of(authorization_header(Credential(CHALLENGE, ACTIONS["use"])))
    del message["challenge"][field]
    with pytest.raises(MessageError, match=rf"challenge\.{field} is missing"):
        parse_authorization(header_of(message))


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", ""), ("id", 1), ("realm", None), ("method", "evm"), ("intent", "charge"), ("request", {}), ("expires", 5)],
)
def test_a_bad_part_of_the_challenge_is_named(field: str, value: object) -> None:
    message = message_of(authorization_header(Credential(CHALLENGE, ACTIONS["use"])))
    message["challenge"][field] = value
    with pytest.raises(MessageError, match=rf"challenge\.{field}"):
        parse_authorization(header_of(message))


def test_unknown_members_are_ignored() -> None:
    credential = Credential(CHALLENGE, ACTIONS["use"])
    message = message_of(authorization_header(credential))
    message["source"] = "did:key:z6Mk"
    message["challenge"]["novel"] = {"a": 1}
    message["payload"]["novel"] = None
    assert parse_authorization(header_of(message)) == credential


def test_the_scheme_is_read_in_any_case() -> None:
    credential = Credential(CHALLENGE, ACTIONS["use"])
    token = authorization_header(credential).removeprefix("Payment ")
    assert parse_authorization(f" pAYMENT   {token}\t") == credential


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Payment",
        "Payment ",
        "Bearer e30",
        "Paymente30",
        "Payment e30=",
        "Payment e30 e30",
        "Payment e30, Basic YWJj",
        "Payment !",
        "Payment e30",
        "Payment " + encode_base64url(b"[]"),
        "Payment " + encode_base64url(b'{"challenge":1,"payload":{}}'),
        "Payment " + encode_base64url(canonical_json({"challenge": {}, "payload": {}})),
        "Payment " + "A" * MAX_CREDENTIAL_BYTES,
    ],
)
def test_what_is_no_credential_is_refused(value: str) -> None:
    with pytest.raises(MessageError):
        parse_authorization(value)


def test_the_cap_is_the_callers() -> None:
    header = authorization_header(Credential(CHALLENGE, ACTIONS["use"]))
    assert parse_authorization(header, max_bytes=len(header)).challenge == CHALLENGE
    with pytest.raises(MessageError, match="longer"):
        parse_authorization(header, max_bytes=len(header) - 1)
