"""No input makes a parser raise anything but the kernel's own errors, or read a value it would write otherwise."""

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.protocol.amounts import format_amount, parse_amount, parse_base_units
from retainer.protocol.challenges import Challenge, challenge_header, parse_challenge_headers
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.encoding import decode_base64url, encode_base64url, read_json
from retainer.protocol.errors import LayoutError, MessageError, RetainerError
from retainer.protocol.events import decode_event, events_from_logs
from retainer.protocol.instruction_data import DecodedInstruction, decode_instruction, encode_instruction
from retainer.protocol.layouts import decode_mint, decode_session, decode_token_account, encode_session
from retainer.protocol.offers import SessionRequest
from retainer.protocol.problems import parse_problem
from retainer.protocol.receipts import Receipt, parse_receipt, receipt_header
from retainer.protocol.session import SessionAccount
from retainer.protocol.sla import SlaTerms
from retainer.protocol.timestamps import parse_timestamp
from retainer.protocol.transactions import inspect_open, inspect_top_up
from retainer.protocol.usage import UsageEntry
from retainer.protocol.views import SessionView
from retainer.protocol.vouchers import decode_voucher, voucher_bytes
from tests.property import protocol_messages as some
from tests.unit.protocol.examples import SESSION

TEXT_PARSERS: list[Callable[[str], object]] = [
    parse_base_units,
    lambda text: parse_amount(text, 6),
    lambda text: parse_timestamp(text, "it"),
    lambda text: decode_base64url(text, "it"),
    lambda text: parse_challenge_headers([text]),
    lambda text: parse_challenge_headers(["Payment " + text]),
    parse_authorization,
    lambda text: parse_authorization("Payment " + text),
    parse_receipt,
]
BYTES_PARSERS: list[Callable[[bytes], object]] = [
    lambda data: read_json(data, "it"),
    lambda data: parse_authorization("Payment " + encode_base64url(data)),
    lambda data: parse_receipt(encode_base64url(data)),
    parse_problem,
    decode_session,
    decode_token_account,
    decode_mint,
    decode_instruction,
    decode_voucher,
    decode_event,
    inspect_open,
    lambda data: inspect_top_up(data, session=SESSION),
]
JSON_PARSERS: list[Callable[[object], object]] = [
    SessionRequest.from_json,
    Receipt.from_json,
    UsageEntry.from_json,
    SessionView.from_json,
    SlaTerms.from_json,
]
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize("parse", TEXT_PARSERS)
@given(text=st.text())
def test_any_text(parse: Callable[[str], object], text: str) -> None:
    with suppress(RetainerError):
        parse(text)


@pytest.mark.parametrize("parse", BYTES_PARSERS)
@given(data=st.binary())
def test_any_bytes(parse: Callable[[bytes], object], data: bytes) -> None:
    with suppress(RetainerError):
        parse(data)


@pytest.mark.parametrize("parse", JSON_PARSERS)
@given(value=any_json)
def test_any_json(parse: Callable[[object], object], value: object) -> None:
    with pytest.raises(MessageError):
        parse(value)


@given(st.lists(st.text()))
def test_any_logs(logs: list[str]) -> None:
    assert events_from_logs(logs) == []


@given(some.credentials, st.data())
def test_a_credential_with_one_field_replaced(credential: Credential, data: st.DataObject) -> None:
    """Whatever stands in one place of a good credential, it is refused by a MessageError or read."""
    token = authorization_header(credential).removeprefix("Payment ")
    message = json.loads(decode_base64url(token, "it"))
    inside = data.draw(st.sampled_from([message, message["challenge"], message["payload"]]))
    name = data.draw(st.sampled_from(sorted(inside)))
    inside[name] = data.draw(any_json)
    with suppress(MessageError):
        parse_authorization("Payment " + encode_base64url(json.dumps(message).encode()))


def changed(text: str, data: st.DataObject) -> str:
    at = data.draw(st.integers(0, len(text) - 1))
    return text[:at] + data.draw(st.characters()) + text[at + 1 :]


@given(some.credentials, st.data())
def test_a_credential_header_has_one_spelling(credential: Credential, data: st.DataObject) -> None:
    """F17: changing any one character is refused, ignored in the scheme's case, or read as another credential."""
    header = authorization_header(credential)
    other = changed(header, data)
    try:
        read = parse_authorization(other)
    except MessageError:
        return
    assert other.lower().startswith("payment")
    assert (read == credential) == (other.partition(" ")[2].strip() == header.partition(" ")[2])


@given(some.challenges, st.data())
def test_a_challenge_header_with_one_character_changed(challenge: Challenge, data: st.DataObject) -> None:
    with suppress(MessageError):
        parse_challenge_headers([changed(challenge_header(challenge), data)])


@given(some.receipts, st.data())
def test_a_receipt_header_has_one_spelling(receipt: Receipt, data: st.DataObject) -> None:
    header = receipt_header(receipt)
    other = changed(header, data)
    try:
        read = parse_receipt(other)
    except MessageError:
        return
    assert (read == receipt) == (other.strip(" \t") == header)


@given(some.session_accounts, st.data())
def test_an_account_that_reads_has_one_encoding(account: SessionAccount, data: st.DataObject) -> None:
    raw = bytearray(encode_session(account))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_session(bytes(raw))
    except LayoutError:
        return
    assert encode_session(read) == bytes(raw)


@given(some.instruction_data, st.data())
def test_an_instruction_that_reads_has_one_encoding(instruction: DecodedInstruction, data: st.DataObject) -> None:
    raw = bytearray(encode_instruction(instruction))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_instruction(bytes(raw))
    except LayoutError:
        return
    assert encode_instruction(read) == bytes(raw)


@given(st.binary(min_size=50, max_size=50))
def test_a_voucher_that_reads_has_one_encoding(raw: bytes) -> None:
    try:
        read = decode_voucher(raw)
    except LayoutError:
        return
    assert voucher_bytes(read) == raw


@given(some.amounts, st.integers(0, 20), st.data())
def test_an_amount_is_never_read_from_a_changed_text_as_the_same(
    units: int, decimals: int, data: st.DataObject
) -> None:
    text = format_amount(units, decimals)
    other = changed(text, data)
    try:
        read = parse_amount(other, decimals)
    except RetainerError:
        return
    assert (read == units) == (other == text)
