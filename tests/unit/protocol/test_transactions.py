"""What a sponsor would sign: each way to slip something else into a deposit's transaction, beside its honest twin."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import request_heap_frame, set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageHeader, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import AdvanceNonceAccountParams, TransferParams, advance_nonce_account, transfer
from solders.transaction import VersionedTransaction

from retainer.protocol.actions import OpenAction
from retainer.protocol.constants import (
    ATA_PROGRAM_ID,
    MAX_TRANSACTION_BYTES,
    PAYMENT_CHANNELS_PROGRAM_ID,
    PROGRAM_ID,
    TOKEN_2022_PROGRAM_ID,
)
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.errors import TransactionError
from retainer.protocol.instructions import (
    ACCOUNT_NAMES,
    close,
    create_ata_idempotent,
    open_session,
    open_with_terms,
    request_close,
    top_up,
)
from retainer.protocol.pda import derive_ata, derive_session, derive_vault
from retainer.protocol.sla import NO_TERMS_HASH
from retainer.protocol.transactions import decode_transaction, inspect_open, inspect_top_up
from tests.golden import golden
from tests.unit.protocol.examples import (
    ACCOUNT,
    BLOCKHASH,
    MINT,
    OPEN,
    OPEN_WITH_TERMS,
    OPERATOR,
    PAYEE,
    PAYER,
    PAYER_TOKEN,
    SESSION,
    SPONSOR,
    STRANGER,
    sign_message,
    signed,
    with_account,
)

OPENINGS = {"open": open_session(OPEN), "open_with_terms": open_with_terms(OPEN_WITH_TERMS)}
SPONSORED = {
    "open": open_session(replace(OPEN, rent_payer=SPONSOR.pubkey())),
    "open_with_terms": open_with_terms(replace(OPEN_WITH_TERMS, rent_payer=SPONSOR.pubkey())),
}
VAULT = derive_vault(SESSION)[0]
TOP_UP = top_up(payer=PAYER.pubkey(), session=SESSION, payer_token=PAYER_TOKEN, escrow=VAULT, mint=MINT, amount=5)


def refused(raw: bytes, match: str, *, program_id: Pubkey = PROGRAM_ID) -> None:
    with pytest.raises(TransactionError, match=match):
        inspect_open(raw, program_id=program_id)


@pytest.mark.parametrize("version", [0, None])
@pytest.mark.parametrize("name", OPENINGS)
def test_an_opening_is_read_from_its_bytes(name: str, version: int | None) -> None:
    """C45: legacy and version 0 read the same."""
    raw = signed([OPENINGS[name]], [PAYER], version=version)
    found = inspect_open(raw)
    terms = name == "open_with_terms"
    assert found.with_terms is terms
    assert (found.session, found.seeds) == (SESSION, OPEN.seeds)
    assert (found.deposit, found.grace_period) == (1_000_000, 900)
    assert found.operator == (OPERATOR.pubkey() if terms else PAYEE.pubkey())
    assert found.escrow == (VAULT if terms else derive_ata(SESSION, MINT))
    assert (found.price_per_unit, found.expires_at) == ((8000, 1_900_000_000) if terms else (0, 0))
    assert found.sla_hash == (OPEN_WITH_TERMS.sla_hash if terms else NO_TERMS_HASH)
    assert (found.rent_payer, found.fee_payer, found.payer_token) == (PAYER.pubkey(), PAYER.pubkey(), PAYER_TOKEN)
    assert found.blockhash == BLOCKHASH
    assert found.signature == str(decode_transaction(raw).signatures[0])
    assert (found.signed_by, found.missing) == (frozenset({PAYER.pubkey()}), ())
    assert found.max_fee == 5000


@pytest.mark.parametrize("name", SPONSORED)
def test_a_sponsored_opening_waits_for_the_sponsor_alone(name: str) -> None:
    found = inspect_open(signed([SPONSORED[name]], [PAYER], fee_payer=SPONSOR))
    assert (found.fee_payer, found.rent_payer) == (SPONSOR.pubkey(), SPONSOR.pubkey())
    assert (found.signed_by, found.missing) == (frozenset({PAYER.pubkey()}), (SPONSOR.pubkey(),))
    assert found.signature is None
    assert found.max_fee == 10_000
    whole = inspect_open(signed([SPONSORED[name]], [PAYER, SPONSOR], fee_payer=SPONSOR))
    assert whole.missing == ()
    assert whole.signature is not None


def test_a_stock_clients_openings_are_read() -> None:
    for case in golden("credentials"):
        action = parse_authorization(case["credentials"][0]["header"]).action
        assert isinstance(action, OpenAction)
        assert action.transaction is not None
        found = inspect_open(action.transaction)
        assert (found.session, found.seeds, found.deposit) == (action.channel_id, action.seeds, action.deposit)
        assert bool(found.missing) is case["sponsored"]


def test_what_usually_accompanies_an_opening_is_allowed_once() -> None:
    budget = [set_compute_unit_limit(50_000), set_compute_unit_price(1_000_001)]
    own_account = create_ata_idempotent(funder=PAYER.pubkey(), owner=PAYER.pubkey(), mint=MINT)
    escrow_account = create_ata_idempotent(funder=PAYER.pubkey(), owner=SESSION, mint=MINT)
    found = inspect_open(signed([*budget, own_account, escrow_account, OPENINGS["open"]], [PAYER]))
    assert (found.budget.limit, found.budget.price) == (50_000, 1_000_001)
    assert found.budget.priority_fee == 50_001
    assert found.max_fee == 55_001
    for twice in (budget[0], budget[1], own_account, escrow_account):
        refused(signed([twice, twice, OPENINGS["open"]], [PAYER]), "twice|another instruction")
    refused(signed([escrow_account, OPENINGS["open_with_terms"]], [PAYER]), "another instruction")


def test_an_unlimited_budget_is_counted_at_its_most() -> None:
    found = inspect_open(signed([set_compute_unit_price(1_000_000), OPENINGS["open"]], [PAYER]))
    assert found.budget.priority_fee == 1_400_000


def close_of_another_session(submitter: Pubkey) -> Instruction:
    return close(
        submitter=submitter,
        session=STRANGER.pubkey(),
        account=replace(ACCOUNT, operator=submitter),
        payee_token=derive_ata(PAYEE.pubkey(), MINT),
        payer_token=PAYER_TOKEN,
        amount=0,
        charged_units=0,
        usage_root=bytes(32),
    )


def payout(lamports: int = 1) -> Instruction:
    return transfer(TransferParams(from_pubkey=SPONSOR.pubkey(), to_pubkey=STRANGER.pubkey(), lamports=lamports))


@pytest.mark.parametrize(
    ("added", "why"),
    [
        (close_of_another_session(SPONSOR.pubkey()), "2 instructions"),
        (request_close(payer=PAYER.pubkey(), session=SESSION), "2 instructions"),
        (open_session(replace(OPEN, salt=43)), "2 instructions"),
        (payout(), "another instruction"),
        (create_ata_idempotent(funder=SPONSOR.pubkey(), owner=PAYER.pubkey(), mint=MINT), "another instruction"),
        (create_ata_idempotent(funder=PAYER.pubkey(), owner=STRANGER.pubkey(), mint=MINT), "another instruction"),
        (
            create_ata_idempotent(
                funder=PAYER.pubkey(), owner=PAYER.pubkey(), mint=MINT, token_program=TOKEN_2022_PROGRAM_ID
            ),
            "another instruction",
        ),
        (
            Instruction(
                ATA_PROGRAM_ID,
                b"",
                [*create_ata_idempotent(funder=PAYER.pubkey(), owner=PAYER.pubkey(), mint=MINT).accounts],
            ),
            "another instruction",
        ),
        (Instruction(STRANGER.pubkey(), b"", []), "another instruction"),
        (request_heap_frame(64 * 1024), "compute budget"),
        (Instruction(set_compute_unit_limit(1).program_id, b"", []), "compute budget"),
        (
            Instruction(
                set_compute_unit_limit(1).program_id,
                set_compute_unit_limit(1).data,
                [AccountMeta(STRANGER.pubkey(), is_signer=False, is_writable=True)],
            ),
            "with accounts",
        ),
        (
            advance_nonce_account(
                AdvanceNonceAccountParams(nonce_pubkey=STRANGER.pubkey(), authorized_pubkey=PAYER.pubkey())
            ),
            "another instruction",
        ),
    ],
)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.row("F05", attack="an instruction added beside the opening", twin="the opening alone is read")
def test_a_sponsor_signs_nothing_beside_the_opening(added: Instruction, why: str, *, first: bool) -> None:
    """C47, F05, and C43 for the durable nonce."""
    both = [added, SPONSORED["open"]] if first else [SPONSORED["open"], added]
    refused(signed(both, [PAYER, STRANGER], fee_payer=SPONSOR), why)
    assert inspect_open(signed([SPONSORED["open"]], [PAYER], fee_payer=SPONSOR)).session == SESSION


def test_a_transaction_without_opening_is_refused() -> None:
    refused(signed([set_compute_unit_limit(1)], [PAYER]), "0 instructions")
    refused(signed([TOP_UP], [PAYER]), "opens no session")
    refused(signed([Instruction(PROGRAM_ID, b"\x63", [])], [PAYER]), "no instruction of the session program")
    refused(signed([OPENINGS["open"]], [PAYER]), "0 instructions", program_id=PAYMENT_CHANNELS_PROGRAM_ID)


def test_the_peer_programs_opening_is_read_under_its_own_id_only() -> None:
    raw = signed([open_session(OPEN, PAYMENT_CHANNELS_PROGRAM_ID)], [PAYER])
    found = inspect_open(raw, program_id=PAYMENT_CHANNELS_PROGRAM_ID)
    assert found.session == derive_session(OPEN.seeds, PAYMENT_CHANNELS_PROGRAM_ID)[0]
    refused(raw, "0 instructions")


@pytest.mark.parametrize("name", OPENINGS)
def test_every_derived_account_must_be_the_derived_one(name: str) -> None:
    names = ACCOUNT_NAMES[name]
    for slot in ("session", "escrow", "system_program", "rent", "ata_program", "event_authority", "this_program"):
        if slot in names:
            at = names.index(slot)
            meta = OPENINGS[name].accounts[at]
            other = AccountMeta(STRANGER.pubkey(), is_signer=meta.is_signer, is_writable=meta.is_writable)
            refused(signed([with_account(OPENINGS[name], at, other)], [PAYER]), f"account {at} ")


@pytest.mark.parametrize("name", OPENINGS)
def test_an_account_with_more_or_less_rights_is_refused(name: str) -> None:
    """A read-only account made writable, or the reverse, is not what the program's interface says."""
    opening = OPENINGS[name]
    for at, meta in enumerate(opening.accounts):
        if not meta.is_signer:
            flipped = AccountMeta(meta.pubkey, is_signer=False, is_writable=not meta.is_writable)
            refused(signed([with_account(opening, at, flipped)], [PAYER]), "signer or writable")
    payee = ACCOUNT_NAMES[name].index("payee")
    co_signed = with_account(opening, payee, AccountMeta(PAYEE.pubkey(), is_signer=True, is_writable=False))
    refused(signed([co_signed], [PAYER, PAYEE]), "signer or writable")
    read_only_payer = with_account(SPONSORED[name], 0, AccountMeta(PAYER.pubkey(), is_signer=True, is_writable=False))
    refused(signed([read_only_payer], [PAYER], fee_payer=SPONSOR), "signer or writable")


@pytest.mark.parametrize("change", [-1, 1])
def test_the_number_of_accounts_is_fixed(change: int) -> None:
    opening = OPENINGS["open"]
    extra = AccountMeta(STRANGER.pubkey(), is_signer=False, is_writable=True)
    accounts = opening.accounts[:-1] if change < 0 else [*opening.accounts, extra]
    refused(signed([Instruction(PROGRAM_ID, opening.data, accounts)], [PAYER]), "14 accounts")


def test_an_account_that_nothing_uses_is_refused() -> None:
    plain = MessageV0.try_compile(PAYER.pubkey(), [OPENINGS["open"]], [], BLOCKHASH)
    header = plain.header
    longer = MessageV0(
        MessageHeader(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts + 1,
        ),
        [*plain.account_keys, STRANGER.pubkey()],
        plain.recent_blockhash,
        plain.instructions,
        [],
    )
    assert inspect_open(sign_message(plain, [PAYER])).session == SESSION
    refused(sign_message(longer, [PAYER]), "none of its instructions")


def test_an_account_named_twice_is_refused() -> None:
    plain = Message.new_with_blockhash([OPENINGS["open"]], PAYER.pubkey(), BLOCKHASH)
    header = plain.header
    doubled = Message.new_with_compiled_instructions(
        header.num_required_signatures,
        header.num_readonly_signed_accounts,
        header.num_readonly_unsigned_accounts + 1,
        [*plain.account_keys, MINT],
        plain.recent_blockhash,
        plain.instructions,
    )
    refused(sign_message(doubled, [PAYER]), "twice")


def test_lookup_tables_are_refused() -> None:
    """C45: what a table holds may change between signing and landing."""
    table = AddressLookupTableAccount(STRANGER.pubkey(), [MINT])
    message = MessageV0.try_compile(PAYER.pubkey(), [OPENINGS["open"]], [table], BLOCKHASH)
    assert message.address_table_lookups
    refused(sign_message(message, [PAYER]), "lookup tables")


def test_a_version_that_is_not_read_here_is_refused() -> None:
    from solders.message import MessageV1  # the older solders that anchorpy pins has none

    message = MessageV1.try_compile(PAYER.pubkey(), [OPENINGS["open"]], BLOCKHASH)
    refused(bytes(VersionedTransaction(message, [PAYER])), "version later than 0")


def test_signatures_are_verified_and_the_payers_is_needed() -> None:
    refused(signed([OPENINGS["open"]], []), "payer has not signed")
    refused(signed([SPONSORED["open"]], [SPONSOR], fee_payer=SPONSOR), "payer has not signed")
    whole = signed([OPENINGS["open"]], [PAYER])
    forged = whole[:1] + bytes([whole[1] ^ 1]) + whole[2:]
    refused(forged, f"signature of {PAYER.pubkey()}")
    other_blockhash = whole.replace(bytes(BLOCKHASH), bytes(Hash.default()))
    refused(other_blockhash, f"signature of {PAYER.pubkey()}")


@pytest.mark.parametrize(
    ("opening", "fee_payer", "signers", "why"),
    [
        (open_session(replace(OPEN, rent_payer=SPONSOR.pubkey())), PAYER, [PAYER, SPONSOR], "rent"),
        (open_session(replace(OPEN, rent_payer=STRANGER.pubkey())), SPONSOR, [PAYER, STRANGER], "rent"),
        (open_session(replace(OPEN, payee=SPONSOR.pubkey())), SPONSOR, [PAYER], "signer or writable|more than"),
        (
            open_with_terms(replace(OPEN_WITH_TERMS, rent_payer=SPONSOR.pubkey(), operator=SPONSOR.pubkey())),
            SPONSOR,
            [PAYER],
            "signer or writable|more than",
        ),
        (
            open_session(replace(OPEN, rent_payer=SPONSOR.pubkey(), payer_token=SPONSOR.pubkey())),
            SPONSOR,
            [PAYER],
            "more than",
        ),
        (
            open_session(replace(OPEN, rent_payer=SPONSOR.pubkey(), authorized_signer=SPONSOR.pubkey())),
            SPONSOR,
            [PAYER],
            "more than",
        ),
        (open_session(replace(OPEN, payee=PAYER.pubkey())), PAYER, [PAYER], "neither payee nor operator"),
        (
            open_with_terms(replace(OPEN_WITH_TERMS, operator=PAYER.pubkey())),
            PAYER,
            [PAYER],
            "neither payee nor operator",
        ),
        (open_session(replace(OPEN, token_program=STRANGER.pubkey())), PAYER, [PAYER], "neither the SPL Token"),
    ],
)
def test_roles_that_must_not_meet_are_refused(
    opening: Instruction, fee_payer: Keypair, signers: Sequence[Keypair], why: str
) -> None:
    """C46: a sponsor is never operator, payee or anything else; a payer never its own counterpart."""
    refused(signed([opening], list(signers), fee_payer=fee_payer), why)


@pytest.mark.parametrize("raw", [b"", b"\0", b"\1" * 100, b"\xff" * 200, bytes(MAX_TRANSACTION_BYTES + 1)])
def test_bytes_that_are_no_transaction_are_refused(raw: bytes) -> None:
    with pytest.raises(TransactionError):
        decode_transaction(raw)


@pytest.mark.row("C38", attack="a transaction larger than a packet", twin="one that fits is read")
def test_bytes_after_the_transaction_and_oversize_are_refused() -> None:
    """C38: a packet has 1,232 bytes."""
    whole = signed([OPENINGS["open"]], [PAYER])
    with pytest.raises(TransactionError, match="followed"):
        decode_transaction(whole + b"\0")

    def with_memo(size: int) -> bytes:
        return signed([OPENINGS["open"], Instruction(STRANGER.pubkey(), bytes(size), [])], [PAYER])

    room = 1000 - (len(with_memo(1000)) - MAX_TRANSACTION_BYTES)
    assert bytes(decode_transaction(with_memo(room))) == with_memo(room)
    with pytest.raises(TransactionError, match="1232"):
        decode_transaction(with_memo(room + 1))


@pytest.mark.parametrize("case", golden("transactions"), ids=lambda case: str(case["name"]))
def test_the_published_transactions_are_read_as_what_they_are(case: dict[str, Any]) -> None:
    raw = base64.b64decode(case["transaction"])
    missing = () if case["feePayer"] == case["payer"] else (Pubkey.from_string(case["feePayer"]),)
    if "amount" in case:
        added = inspect_top_up(raw, session=Pubkey.from_string(case["session"]))
        assert (str(added.session), str(added.mint), str(added.amount)) == (
            case["session"],
            case["mint"],
            case["amount"],
        )
        assert added.missing == missing
        return
    opening = inspect_open(raw, program_id=PROGRAM_ID)
    assert (str(opening.session), str(opening.deposit), opening.grace_period, str(opening.blockhash)) == (
        case["session"],
        case["deposit"],
        case["gracePeriod"],
        case["blockhash"],
    )
    assert (opening.missing, str(opening.fee_payer)) == (missing, case["feePayer"])
    if opening.with_terms:
        assert (str(opening.operator), str(opening.price_per_unit), opening.expires_at, opening.sla_hash.hex()) == (
            case["operator"],
            case["pricePerUnit"],
            case["expiresAt"],
            case["slaHash"],
        )
