"""Random well-formed values of the kernel, for its property tests."""

from hypothesis import strategies as st
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from retainer.protocol.actions import CloseAction, OpenAction, TopUpAction, UseAction, VoucherAction
from retainer.protocol.amounts import base_units
from retainer.protocol.authentication import SessionProof
from retainer.protocol.challenges import issue_challenge
from retainer.protocol.constants import (
    I64_MAX,
    JSON_INTEGER_MAX,
    MAX_IDLE_TIMEOUT,
    MAX_TRANSACTION_BYTES,
    TOKEN_2022_PROGRAM_ID,
    TOKEN_PROGRAM_ID,
    U64_MAX,
    Network,
)
from retainer.protocol.credentials import Credential
from retainer.protocol.instruction_data import (
    CloseData,
    OpenData,
    OpenWithTermsData,
    RequestCloseData,
    SettleData,
    TopUpData,
    WithdrawData,
)
from retainer.protocol.layouts import SESSION_VERSION
from retainer.protocol.offers import RetainerTerms, SessionRequest
from retainer.protocol.receipts import MeteredDetails, Receipt, ReceiptExtension
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount, SessionState, VoucherSigner
from retainer.protocol.sla import SlaTerms
from retainer.protocol.timestamps import format_timestamp
from retainer.protocol.usage import UsageEntry
from retainer.protocol.vouchers import SignedVoucher, Voucher

u8 = st.integers(0, 2**8 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, U64_MAX)
i64 = st.integers(-(2**63), I64_MAX)
amounts = u64.map(base_units)
hashes = st.binary(min_size=32, max_size=32)
digests = hashes.map(bytes.hex)
pubkeys = hashes.map(Pubkey.from_bytes)
keypairs = hashes.map(Keypair.from_seed)
signatures = st.binary(min_size=64, max_size=64).map(Signature.from_bytes)
counts = st.integers(0, JSON_INTEGER_MAX)
idle_timeouts = st.integers(1, MAX_IDLE_TIMEOUT)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20)
statuses = st.from_regex(r"[1-5]([0-9]{2}|xx)", fullmatch=True)
timestamps = st.integers(0, 253_402_300_799).map(format_timestamp)

sla_terms = st.builds(
    SlaTerms,
    max_latency_ms=st.none() | st.integers(1, JSON_INTEGER_MAX),
    accepted_statuses=st.lists(statuses, min_size=1, max_size=5, unique=True).map(tuple),
    min_body_bytes=counts,
)
session_accounts = st.builds(
    SessionAccount,
    version=st.just(SESSION_VERSION),
    bump=u8,
    status=st.sampled_from(ChainStatus),
    escrow_kind=st.sampled_from(EscrowKind),
    decimals=u8,
    payer=pubkeys,
    payee=pubkeys,
    operator=pubkeys,
    authorized_signer=pubkeys,
    rent_payer=pubkeys,
    mint=pubkeys,
    escrow=pubkeys,
    salt=u64,
    open_slot=u64,
    deposit=amounts,
    settled=amounts,
    charged_units=u64,
    grace_period=u32,
    opened_at=i64,
    closure_started_at=i64,
    price_per_unit=amounts,
    expires_at=i64,
    sla_hash=hashes,
)
instruction_data = st.one_of(
    st.builds(OpenData, u64, u64, u32, u64),
    st.builds(OpenWithTermsData, u64, u64, u32, u64, u64, i64, hashes, st.booleans()),
    st.builds(TopUpData, u64),
    st.builds(RequestCloseData),
    st.builds(SettleData, u64, u64, i64),
    st.builds(CloseData, u64, u64, i64, hashes, st.booleans()),
    st.builds(WithdrawData),
)

vouchers = st.builds(Voucher, pubkeys, amounts, counts)
signed_vouchers = st.builds(SignedVoucher, vouchers, pubkeys, signatures)
proofs = st.builds(SessionProof, texts, pubkeys, signatures)
_new = {
    "recent_blockhash": hashes.map(Hash.from_bytes),
    "recent_slot": u64,
    "grace_period_seconds": st.integers(1, 2**32 - 1),
    "idle_timeout_options": st.none() | st.sets(idle_timeouts, min_size=1, max_size=4).map(lambda s: tuple(sorted(s))),
}
_resumed = {"channel_id": pubkeys, "idle_timeout_seconds": idle_timeouts}
_any = {
    "amount": amounts,
    "currency": pubkeys,
    "recipient": pubkeys,
    "network": st.sampled_from(Network),
    "channel_program": pubkeys,
    "decimals": st.integers(0, 9),
    "unit_type": st.none() | texts,
    "suggested_deposit": st.none() | amounts,
    "minimum_deposit": st.none() | amounts,
    "description": st.none() | texts,
    "external_id": st.none() | texts,
    "token_program": st.sampled_from([None, TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID]),
    "fee_payer": st.booleans(),
    "fee_payer_key": pubkeys,
    "voucher_signer": st.sampled_from(VoucherSigner),
    "operator": pubkeys,
    "min_voucher_delta": st.none() | amounts,
    "ttl_seconds": st.none() | counts,
    "retainer": st.none()
    | st.builds(
        RetainerTerms,
        offer_id=texts,
        operator=pubkeys,
        price=amounts,
        expires_at=counts,
        sla=st.none() | sla_terms,
    ),
}
requests = st.builds(SessionRequest, **_any, **_new) | st.builds(SessionRequest, **_any, **_resumed)


challenges = st.builds(
    issue_challenge,
    hashes,
    printable,
    requests,
    expires=st.none() | timestamps,
    description=st.none() | printable,
    opaque=st.none() | st.dictionaries(texts, texts, max_size=3),
)
transactions = st.binary(min_size=1, max_size=MAX_TRANSACTION_BYTES)
_open = {
    "channel_id": pubkeys,
    "payer": pubkeys,
    "payee": pubkeys,
    "mint": pubkeys,
    "authorized_signer": pubkeys,
    "salt": u64,
    "deposit": amounts,
    "grace_period": st.integers(1, 2**32 - 1),
    "open_slot": u64,
    "idle_timeout_seconds": st.none() | idle_timeouts,
    "authentication": st.none() | proofs,
}
actions = st.one_of(
    st.builds(OpenAction, **_open, transaction=transactions),
    st.builds(OpenAction, **_open, signature=signatures),
    st.builds(UseAction, pubkeys, proofs),
    signed_vouchers.map(lambda signed: VoucherAction(signed.voucher.channel_id, signed)),
    st.builds(TopUpAction, pubkeys, amounts, transactions),
    st.builds(CloseAction, pubkeys, authentication=proofs),
    signed_vouchers.map(lambda signed: CloseAction(signed.voucher.channel_id, voucher=signed)),
)
credentials = st.builds(Credential, challenges, actions)

metered = st.builds(
    MeteredDetails,
    sequence=counts,
    amount=amounts,
    units=u64,
    charged=st.booleans(),
    term=st.none() | texts,
    status=st.integers(100, 599),
    latency_ms=counts,
    request_digest=digests,
    response_digest=digests,
    usage_hash=digests,
)
extensions = st.builds(
    ReceiptExtension,
    state=st.sampled_from(SessionState),
    remaining=amounts,
    operator=pubkeys,
    metered=st.none() | metered,
    signature=st.none() | signatures,
)
receipts = st.builds(
    Receipt,
    reference=pubkeys,
    timestamp=timestamps,
    accepted_cumulative=amounts,
    spent=amounts,
    idle_timeout_seconds=idle_timeouts,
    challenge_id=st.none() | texts,
    tx_hash=st.none() | texts,
    refunded=st.none() | amounts,
    retainer=st.none() | extensions,
)
usage_entries = st.builds(
    UsageEntry,
    sequence=counts,
    timestamp_ms=counts,
    key_digest=st.none() | digests,
    method=texts,
    target=texts,
    request_digest=digests,
    response_digest=digests,
    status=st.integers(100, 599),
    latency_ms=counts,
    body_bytes=counts,
    charged=st.booleans(),
    term=st.none() | texts,
    units=u64,
    amount=amounts,
    cumulative=amounts,
)
