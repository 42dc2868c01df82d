"""Whatever the kernel writes, it reads back as the same value, and only that value's holder could have signed it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits, format_amount, parse_amount, parse_base_units, requests_left
from retainer.protocol.authentication import sign_proof, verify_proof
from retainer.protocol.challenges import (
    Challenge,
    challenge_header,
    issue_challenge,
    parse_challenge_headers,
    verify_challenge_id,
)
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.encoding import canonical_json, decode_base64url, encode_base64url, read_json
from retainer.protocol.fields import Fields
from retainer.protocol.instruction_data import DecodedInstruction, decode_instruction, encode_instruction
from retainer.protocol.layouts import decode_session, encode_session
from retainer.protocol.offers import SessionRequest
from retainer.protocol.receipts import (
    Receipt,
    ReceiptExtension,
    parse_receipt,
    receipt_header,
    sign_receipt,
    signed_header,
    verify_receipt,
)
from retainer.protocol.session import SessionAccount, user_state
from retainer.protocol.sla import SlaTerms
from retainer.protocol.timestamps import format_timestamp, parse_timestamp
from retainer.protocol.usage import EMPTY_ROOT, UsageEntry, chain_hash, entry_json
from retainer.protocol.vouchers import (
    SignedVoucher,
    Voucher,
    decode_voucher,
    sign_voucher,
    verify_voucher,
    voucher_bytes,
    voucher_from_json,
    voucher_to_json,
)
from tests.property import protocol_messages as some


@given(some.amounts, st.integers(0, 20))
def test_amounts_shown_to_people_are_read_back_exactly(units: BaseUnits, decimals: int) -> None:
    assert parse_amount(format_amount(units, decimals), decimals) == units
    assert parse_base_units(str(units)) == units


@given(some.amounts, some.amounts)
def test_requests_left_never_exceed_what_is_there(remaining: BaseUnits, price: BaseUnits) -> None:
    left = requests_left(remaining, price)
    if left is None:
        assert price == 0
    else:
        assert left * price <= remaining < (left + 1) * price


@given(st.binary(min_size=1))
def test_base64url(data: bytes) -> None:
    assert decode_base64url(encode_base64url(data), "it") == data


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | some.texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(some.texts, inner, max_size=4),
)


@given(st.dictionaries(some.texts, _json, max_size=5))
def test_canonical_json(value: dict[str, None]) -> None:
    written = canonical_json(value)
    assert read_json(written, "it") == value
    assert canonical_json(dict(reversed(value.items()))) == written


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_timestamps(unix: int) -> None:
    assert parse_timestamp(format_timestamp(unix), "it") == unix


@given(some.session_accounts)
def test_session_accounts(account: SessionAccount) -> None:
    assert decode_session(encode_session(account)) == account


@given(some.session_accounts, some.u64, some.u64, st.integers(0, 2**62))
def test_every_account_has_a_state(account: SessionAccount, spent: int, price: int, now: int) -> None:
    first = user_state(account, spent=spent, price=price, now=now)
    assert user_state(account, spent=spent, price=price, now=now) is first


@given(some.instruction_data)
def test_instruction_data(data: DecodedInstruction) -> None:
    assert decode_instruction(encode_instruction(data)) == data


@given(some.vouchers, some.keypairs)
def test_vouchers(voucher: Voucher, key: Keypair) -> None:
    assert decode_voucher(voucher_bytes(voucher)) == voucher
    assert verify_voucher(sign_voucher(voucher, key))


@given(some.signed_vouchers)
def test_signed_vouchers_on_the_wire(signed: SignedVoucher) -> None:
    assert voucher_from_json(Fields(voucher_to_json(signed), "voucher")) == signed


@given(some.vouchers, some.vouchers, some.keypairs)
def test_a_signature_counts_for_one_voucher_only(one: Voucher, other: Voucher, key: Keypair) -> None:
    signed = sign_voucher(one, key)
    assert verify_voucher(replace(signed, voucher=other)) == (one == other)


@given(some.texts, some.texts, some.pubkeys, some.keypairs)
def test_a_proof_counts_for_one_challenge_only(one: str, other: str, session: Pubkey, key: Keypair) -> None:
    proof = sign_proof(one, session, key)
    assert verify_proof(proof, session)
    assert verify_proof(replace(proof, challenge_id=other), session) == (one == other)


@given(some.sla_terms)
def test_sla_terms(terms: SlaTerms) -> None:
    read = SlaTerms.from_json(terms.to_json())
    assert read.hash() == terms.hash()
    assert set(read.accepted_statuses) == set(terms.accepted_statuses)


@given(some.requests)
def test_session_requests(request: SessionRequest) -> None:
    assert SessionRequest.from_json(request.to_json()).to_json() == request.to_json()


@given(some.challenges)
def test_challenges(challenge: Challenge) -> None:
    assert parse_challenge_headers([challenge_header(challenge)]) == [challenge]
    assert parse_challenge_headers([f'Basic realm="x", {challenge_header(challenge)}, Negotiate']) == [challenge]


@given(some.requests, some.hashes, some.hashes)
def test_a_challenge_is_known_by_its_secret(request: SessionRequest, secret: bytes, other: bytes) -> None:
    challenge = issue_challenge(secret, "realm", request)
    assert verify_challenge_id(challenge, [other, secret])
    assert verify_challenge_id(challenge, [other]) == (other == secret)


@given(some.credentials)
def test_credentials(credential: Credential) -> None:
    assert parse_authorization(authorization_header(credential)) == credential


@given(some.receipts)
def test_receipts(receipt: Receipt) -> None:
    assert parse_receipt(receipt_header(receipt)) == receipt


@given(some.receipts, some.extensions, some.keypairs)
def test_signed_receipts_survive_the_wire(receipt: Receipt, extension: ReceiptExtension, key: Keypair) -> None:
    named = structs.replace(receipt, retainer=structs.replace(extension, operator=key.pubkey()))
    header = receipt_header(sign_receipt(named, key))
    unsigned = structs.replace(named, retainer=structs.replace(extension, operator=key.pubkey(), signature=None))
    assert signed_header(unsigned, key) == header
    read = parse_receipt(header)
    assert decode_base64url(header, "it") == canonical_json(read.to_json())
    assert verify_receipt(read, key.pubkey())
    assert not verify_receipt(structs.replace(read, spent=BaseUnits(read.spent ^ 1)), key.pubkey())


@given(some.usage_entries, some.usage_entries)
def test_usage_entries(entry: UsageEntry, other: UsageEntry) -> None:
    assert UsageEntry.from_json(entry.to_json()) == entry
    assert entry_json(entry) == canonical_json(entry.to_json())
    assert (chain_hash(EMPTY_ROOT, entry) == chain_hash(EMPTY_ROOT, other)) == (entry == other)
