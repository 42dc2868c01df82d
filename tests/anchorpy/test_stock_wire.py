"""A stock client (solana-pay-kit 0.10.0) and the kernel read each other's messages, byte for byte."""

from types import ModuleType
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.actions import OpenAction
from retainer.protocol.challenges import parse_challenge_headers
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.fields import Fields
from retainer.protocol.transactions import inspect_open
from retainer.protocol.vouchers import verify_voucher, voucher_from_json
from tests.golden import golden

SALT = 42


def key(seed: int) -> Keypair:
    return Keypair.from_seed(bytes([seed]) * 32)


PAYER, SIGNER = key(1), key(3)


def credentials(stock: ModuleType, challenge_header: str, top_up: str) -> list[str]:
    """What the stock client answers a challenge with: open, a request, close and a top-up."""
    challenge, request = stock.parse_session_challenge(challenge_header)
    operator = request.method_details.operator
    derive = stock.PaymentChannelOpenOptions(salt=SALT)
    proof = None
    if operator is not None:
        channel = stock.derive_payment_channel_open(request, PAYER.pubkey(), Pubkey.from_string(operator), derive)
        proof = stock.sign_session_authentication(challenge.id, str(channel.channel_id), PAYER)
    options = stock.PaymentChannelSessionOpenOptions(open=derive, authentication=proof, expires_at=1234)
    opened = stock.create_payment_channel_session_opener(request, PAYER, SIGNER, options=options)
    session = opened.session
    actions = [
        opened.action,
        session.voucher_action(8000) if proof is None else session.use_action(proof),
        session.close_action(8000) if proof is None else session.close_action(authentication=proof),
        session.top_up_action(5, top_up),
    ]
    return [stock.serialize_session_credential(challenge, action) for action in actions]


@pytest.mark.parametrize("case", golden("credentials"), ids=lambda case: str(case["voucherSigner"]))
def test_the_stock_client_writes_the_vectors(stock: ModuleType, case: dict[str, Any]) -> None:
    """So a unit test that reads the vectors, in any environment, reads what a stock client sends."""
    assert credentials(stock, case["challengeHeader"], case["credentials"][3]["payload"]["transaction"]) == [
        vector["header"] for vector in case["credentials"]
    ]


@pytest.mark.parametrize("case", golden("credentials"), ids=lambda case: str(case["voucherSigner"]))
def test_the_stock_client_reads_our_challenge_as_we_do(stock: ModuleType, case: dict[str, Any]) -> None:
    (ours,) = parse_challenge_headers([case["challengeHeader"]])
    theirs, request = stock.parse_session_challenge(case["challengeHeader"])
    assert (theirs.id, theirs.realm, theirs.request) == (ours.id, ours.realm, ours.request)
    assert (theirs.expires, theirs.description, theirs.opaque) == (ours.expires, ours.description, ours.opaque)
    known = request.to_dict()
    written = ours.session_request().to_json()
    assert isinstance(written["methodDetails"], dict)
    del written["methodDetails"]["retainer"]
    assert known == written


@pytest.mark.parametrize("case", golden("credentials"), ids=lambda case: str(case["voucherSigner"]))
def test_the_stock_servers_parser_reads_the_credentials_too(stock: ModuleType, case: dict[str, Any]) -> None:
    for vector in case["credentials"]:
        parsed = stock.parse_authorization(vector["header"])
        ours = parse_authorization(vector["header"])
        assert parsed.challenge.id == ours.challenge.id
        assert parsed.payload == vector["payload"]
        if isinstance(ours.action, OpenAction):
            assert ours.action.transaction is not None
            assert str(inspect_open(ours.action.transaction).session) == case["channelId"]


@pytest.mark.parametrize("case", golden("receipts"))
def test_the_stock_client_reads_our_receipts(stock: ModuleType, case: dict[str, Any]) -> None:
    receipt, expected = stock.parse_receipt(case["header"]), case["receipt"]
    assert (receipt.reference, receipt.spent, receipt.status) == (
        expected["reference"],
        expected["spent"],
        expected["status"],
    )
    assert receipt.accepted_cumulative == expected["acceptedCumulative"]
    assert receipt.idle_timeout_seconds == expected["idleTimeoutSeconds"]
    assert (receipt.tx_hash, receipt.refunded) == (expected.get("txHash", ""), expected.get("refunded", ""))


def test_a_stock_voucher_verifies(stock: ModuleType) -> None:
    session = stock.ActiveSession(key(9).pubkey(), SIGNER, expires_at=1234)
    signed = voucher_from_json(Fields(session.sign_voucher(8000).to_dict(), "voucher"))
    assert verify_voucher(signed)
