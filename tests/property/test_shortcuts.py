"""What is worked out by a shorter way gives what the long one gives, for whatever is sent."""

import base64
import copy
import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.actions import VoucherAction, action_from_json
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.canonical_vouchers import canonical_voucher
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.encoding import canonical_json, decode_base64url, encode_base64url, read_json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.vouchers import Voucher, sign_voucher, voucher_to_json
from tests.property.protocol_messages import credentials

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+\Z", re.ASCII)
_NEAR_BASE64 = st.text("AQgwxz09-_+/= \n\te\u00e9\x00", max_size=9)


@given(st.text(max_size=6), st.text(max_size=300), st.binary(max_size=40))
def test_a_request_digest_is_over_its_canonical_json(method: str, target: str, body: bytes) -> None:
    said = canonical_json({"method": method.upper(), "target": target, "body": body_digest(body).hex()})
    for _ in range(2):  # worked out, then remembered
        assert request_digest(method, target, body) == hashlib.sha256(b"retainer-request-v1" + said).digest()


@given(_NEAR_BASE64 | st.binary(max_size=20).map(encode_base64url))
@example("AB=")
@example("A+BB")
def test_base64url_is_read_where_it_is_the_one_text_of_its_bytes(text: str) -> None:
    if _ALPHABET.match(text) and len(text) % 4 != 1:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if encode_base64url(data) == text:
            assert decode_base64url(text, "it") == data
            return
    with pytest.raises(MessageError):
        decode_base64url(text, "it")


@given(credentials)
def test_a_credential_is_the_same_in_canonical_text_and_in_any_other(credential: Credential) -> None:
    header = authorization_header(credential)
    value = json.loads(decode_base64url(header.removeprefix("Payment "), "it"))
    other = json.dumps({"payload": value["payload"], "challenge": value["challenge"]}, indent=1).encode()
    for _ in range(2):  # its challenge is read, then known again
        assert parse_authorization(header) == credential
    assert parse_authorization(f"Payment {encode_base64url(other)}") == credential


SIGNED = sign_voucher(Voucher(Pubkey(b"c" * 32), BaseUnits(7), 9), Keypair.from_seed(b"s" * 32))
VOUCHER = {
    "action": "voucher",
    "channelId": str(SIGNED.voucher.channel_id),
    "voucher": voucher_to_json(SIGNED),
}
_VALUES: st.SearchStrategy[object] = st.sampled_from(
    [None, 0, -1, 2**53, 2**60, "", "7", "07", "\u00e9", "ed25519", str(SIGNED.signer), True, [], {}]
)
_PATHS = st.sampled_from(
    [
        ("action",),
        ("channelId",),
        ("other",),
        *[("voucher", name) for name in ("signature", "signatureType", "signer", "voucher", "other")],
        *[("voucher", "voucher", name) for name in ("channelId", "cumulativeAmount", "expiresAt", "other")],
    ]
)


@given(changes=st.lists(st.tuples(_PATHS, _VALUES), max_size=2), canonical=st.booleans(), after=st.binary(max_size=3))
@example(changes=[], canonical=True, after=b"")
@example(changes=[(("voucher", "voucher", "expiresAt"), 0)], canonical=True, after=b"")
def test_a_voucher_read_at_once_is_the_one_read_field_by_field(
    changes: list[tuple[tuple[str, ...], object]], *, canonical: bool, after: bytes
) -> None:
    payload: Any = copy.deepcopy(VOUCHER)
    for path, value in changes:
        inside = payload
        for name in path[:-1]:
            inside = inside.get(name) if isinstance(inside, dict) else None
        if isinstance(inside, dict):
            inside[path[-1]] = value
    text = json.dumps(payload, sort_keys=canonical, separators=(",", ":") if canonical else None).encode() + after
    try:
        slowly: object = action_from_json(Fields(read_json(text, "it"), "it"))
    except MessageError:
        slowly = None
    at_once = canonical_voucher(text)
    assert at_once is None or at_once == slowly
    if not changes and canonical and not after:
        assert at_once == VoucherAction(SIGNED.voucher.channel_id, SIGNED)


def test_a_member_twice_is_not_read_at_once() -> None:
    text = json.dumps(VOUCHER, sort_keys=True, separators=(",", ":"))
    assert canonical_voucher(text.encode()) is not None
    assert canonical_voucher(text.replace('{"action"', '{"action":"use","action"').encode()) is None
