"""What is worked out by a shorter way gives what the long one gives, for whatever is sent."""

import base64
import hashlib
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.encoding import canonical_json, decode_base64url, encode_base64url
from retainer.protocol.errors import MessageError
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
