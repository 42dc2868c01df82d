"""One honest deposit, and every single thing that can be wrong with it (F04): each refused by its own problem."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.challenges import issue_challenge
from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.instructions import create_ata_idempotent
from retainer.protocol.layouts import TokenAccount
from retainer.protocol.offers import RetainerTerms, SessionRequest
from retainer.protocol.pda import derive_vault
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount, VoucherSigner
from retainer.protocol.transactions import OpenRequest
from retainer_provider.sessions.deposits import (
    Demands,
    check_account,
    check_credential,
    check_escrow,
    check_offer,
    check_open_slot,
    check_transaction,
    read_transaction,
)
from retainer_provider.sessions.refusals import Refusal
from tests.books import key
from tests.shop import DEPOSIT, GRACE, MINIMUM, PRICE, SECRET, Agent, Opening, identity, offers

OPERATOR = Keypair.from_seed(b"o" * 32)
AGENT = Agent(Keypair.from_seed(b"a" * 32))
MINT = key("mint")
SLOT = 400_000_000
EXPIRES = 1_800_086_400
OFFER = offers(MINT)["standard"]
TERMS = RetainerTerms(
    offer_id="standard", operator=OPERATOR.pubkey(), price=OFFER.price, expires_at=EXPIRES, sla=OFFER.sla
)
REQUEST = SessionRequest(
    amount=OFFER.price,
    currency=MINT,
    recipient=OPERATOR.pubkey(),
    network=identity(OPERATOR.pubkey()).network,
    channel_program=identity(OPERATOR.pubkey()).program_id,
    decimals=6,
    suggested_deposit=OFFER.suggested_deposit,
    minimum_deposit=OFFER.minimum_deposit,
    recent_blockhash=Hash(bytes(key("blockhash"))),
    recent_slot=SLOT,
    token_program=TOKEN_PROGRAM_ID,
    voucher_signer=VoucherSigner.OPERATOR,
    operator=OPERATOR.pubkey(),
    grace_period_seconds=GRACE,
    retainer=TERMS,
)
CHALLENGE = issue_challenge(SECRET, "shop.test", REQUEST)
DEMANDS = Demands(identity(OPERATOR.pubkey()), OFFER, REQUEST, TERMS)
HONEST = AGENT.open(CHALLENGE)
STOCK = AGENT.open(CHALLENGE, stock=True)

FOREIGN = ProblemType.DEPOSIT_FOREIGN
MISMATCH = ProblemType.DEPOSIT_TERMS_MISMATCH
RECIPIENT = ProblemType.DEPOSIT_WRONG_RECIPIENT
SMALL = ProblemType.DEPOSIT_TOO_SMALL
UNVERIFIED = ProblemType.VERIFICATION_FAILED


def spoiled(**changes: object) -> Opening:
    """An opening whose transaction and credential agree with each other, but not with the challenge."""
    return AGENT.open(CHALLENGE, **changes)  # type: ignore[arg-type]


def decoded(opening: Opening) -> OpenRequest:
    assert opening.action.transaction is not None
    read = read_transaction(opening.action.transaction, DEMANDS)
    assert isinstance(read, OpenRequest), read
    return read


def judged(opening: Opening) -> Refusal | None:
    return check_transaction(decoded(opening), opening.action, DEMANDS)


def account(opening: Opening = HONEST, **changes: object) -> SessionAccount:
    """The account as the program writes it for an opening."""
    params, with_terms = opening.params, opening is not STOCK
    plain = SessionAccount(
        version=1,
        bump=255,
        status=ChainStatus.OPEN,
        escrow_kind=EscrowKind.VAULT if with_terms else EscrowKind.ATA,
        decimals=6,
        payer=params.payer,
        payee=params.payee,
        operator=params.operator if with_terms else params.payee,
        authorized_signer=params.authorized_signer,
        rent_payer=params.rent_payer,
        mint=params.mint,
        escrow=derive_vault(opening.action.channel_id)[0],
        salt=params.salt,
        open_slot=params.open_slot,
        deposit=BaseUnits(params.deposit),
        settled=BaseUnits(0),
        charged_units=0,
        grace_period=params.grace_period,
        opened_at=1_800_000_000,
        closure_started_at=0,
        price_per_unit=BaseUnits(params.price_per_unit if with_terms else 0),
        expires_at=params.expires_at if with_terms else 0,
        sla_hash=params.sla_hash if with_terms else bytes(32),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def escrow(**changes: object) -> TokenAccount:
    plain = TokenAccount(MINT, HONEST.action.channel_id, BaseUnits(DEPOSIT), None, 1, None)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("opening", [HONEST, STOCK])
def test_an_honest_deposit_passes_every_witness(opening: Opening) -> None:
    assert check_offer(DEMANDS) is None
    assert check_credential(opening.action, DEMANDS) is None
    assert judged(opening) is None
    assert check_account(account(opening), opening.action, DEMANDS) is None
    assert check_escrow(escrow(), TOKEN_PROGRAM_ID, HONEST.action.channel_id, account(), DEMANDS) is None


WRONG_FOR_ALL = [
    ({"payee": key("other")}, RECIPIENT),
    ({"mint": key("lookalike")}, FOREIGN),
    ({"authorized_signer": AGENT.key}, MISMATCH),
    ({"grace_period": GRACE + 1}, MISMATCH),
    ({"grace_period": GRACE - 1}, MISMATCH),
    ({"open_slot": SLOT - 1501}, MISMATCH),
    ({"open_slot": SLOT + 1}, MISMATCH),
    ({"deposit": MINIMUM - 1}, SMALL),
    ({"deposit": 100_000_001}, MISMATCH),
]
WRONG_TERMS = [
    ({"operator": key("other")}, MISMATCH),
    ({"price_per_unit": PRICE - 1}, MISMATCH),
    ({"price_per_unit": 0}, MISMATCH),
    ({"expires_at": EXPIRES - 1}, MISMATCH),
    ({"expires_at": EXPIRES + 1}, MISMATCH),
    ({"expires_at": 0}, MISMATCH),
    ({"sla_hash": bytes(32)}, MISMATCH),
]


@pytest.mark.parametrize(("changes", "problem"), [*WRONG_FOR_ALL, *WRONG_TERMS])
def test_a_transaction_on_other_terms_is_refused(changes: dict[str, object], problem: ProblemType) -> None:
    refusal = judged(spoiled(**changes))
    assert refusal is not None
    assert refusal.problem is problem
    assert refusal.detail.endswith(".")


@pytest.mark.parametrize(("changes", "problem"), WRONG_FOR_ALL)
def test_a_credential_that_claims_other_terms_is_refused(changes: dict[str, object], problem: ProblemType) -> None:
    refusal = check_credential(spoiled(**changes).action, DEMANDS)
    assert refusal is not None
    assert refusal.problem is problem


@pytest.mark.parametrize(("changes", "problem"), [*WRONG_FOR_ALL, *WRONG_TERMS])
@pytest.mark.row(
    "F04", attack="every single field of the account that is not as offered", twin="the honest account passes"
)
def test_an_account_on_other_terms_is_refused(changes: dict[str, object], problem: ProblemType) -> None:
    """Whatever the credential and the transaction said: the account is what counts."""
    opening = spoiled(**changes)
    refusal = check_account(account(opening), opening.action, DEMANDS)
    assert refusal is not None
    assert refusal.problem is problem


@pytest.mark.parametrize("changes", [{"payee": key("other")}, {"deposit": MINIMUM - 1}, {"mint": key("lookalike")}])
def test_a_stock_opening_is_held_to_the_same(changes: dict[str, object]) -> None:
    opening = AGENT.open(CHALLENGE, stock=True, **changes)  # type: ignore[arg-type]
    assert judged(opening) is not None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": ChainStatus.CLOSING}, ProblemType.SESSION_CLOSING),
        ({"status": ChainStatus.CLOSED}, ProblemType.SESSION_CLOSED),
        ({"settled": 1}, ProblemType.DEPOSIT_REPLAYED),
        ({"deposit": DEPOSIT - 1}, SMALL),
        ({"decimals": 9}, FOREIGN),
        ({"salt": 999_999}, UNVERIFIED),
        ({"payer": key("other")}, UNVERIFIED),
        ({"escrow_kind": EscrowKind.ATA}, MISMATCH),
    ],
)
def test_an_account_in_another_state_is_refused(changes: dict[str, object], problem: ProblemType) -> None:
    refusal = check_account(account(HONEST, **changes), HONEST.action, DEMANDS)
    assert refusal is not None
    assert refusal.problem is problem


def test_a_session_topped_up_before_it_was_presented_counts_as_what_it_holds() -> None:
    assert check_account(account(deposit=DEPOSIT + 1), HONEST.action, DEMANDS) is None


@pytest.mark.parametrize(
    ("changes", "owner"),
    [
        ({"mint": key("lookalike")}, TOKEN_PROGRAM_ID),
        ({"owner": AGENT.key}, TOKEN_PROGRAM_ID),
        ({"amount": DEPOSIT - 1}, TOKEN_PROGRAM_ID),
        ({"delegate": AGENT.key}, TOKEN_PROGRAM_ID),
        ({"close_authority": AGENT.key}, TOKEN_PROGRAM_ID),
        ({"state": 2}, TOKEN_PROGRAM_ID),
        ({}, TOKEN_2022_PROGRAM_ID),
    ],
)
@pytest.mark.row(
    "F04",
    attack="an escrow short of one unit, or with a delegate, close authority or other owner",
    twin="the honest escrow passes",
)
def test_an_escrow_that_another_could_empty_or_that_is_short_is_refused(
    changes: dict[str, object], owner: Pubkey
) -> None:
    """C13, F04."""
    refusal = check_escrow(escrow(**changes), owner, HONEST.action.channel_id, account(), DEMANDS)
    assert refusal is not None
    assert refusal.problem is FOREIGN


@pytest.mark.parametrize(
    "claim",
    [{"deposit": DEPOSIT + 1}, {"channel_id": key("other")}, {"grace_period": GRACE + 1}],
)
def test_a_credential_that_says_other_than_its_transaction_is_refused(claim: dict[str, object]) -> None:
    refusal = judged(HONEST.claiming(**claim))
    assert refusal is not None
    assert refusal.problem is UNVERIFIED


def test_a_channel_id_of_another_program_is_refused() -> None:
    refusal = check_credential(HONEST.claiming(channel_id=key("other")).action, DEMANDS)
    assert refusal is not None
    assert refusal.problem is UNVERIFIED
    assert str(HONEST.action.channel_id) in refusal.detail


def test_an_idle_timeout_that_was_not_offered_is_refused() -> None:
    refusal = check_credential(HONEST.claiming(idle_timeout_seconds=60).action, DEMANDS)
    assert refusal is not None
    assert "not one of the advertised options" in refusal.detail


@pytest.mark.parametrize("now", [SLOT, SLOT + 1500])
def test_an_opening_within_its_slot_window_can_land(now: int) -> None:
    assert check_open_slot(SLOT, now) is None


@pytest.mark.parametrize("now", [SLOT + 1501, SLOT - 1])
def test_an_opening_whose_slot_window_is_over_or_not_begun_cannot(now: int) -> None:
    refusal = check_open_slot(SLOT, now)
    assert refusal is not None
    assert refusal.problem is MISMATCH


def test_a_transaction_with_another_blockhash_is_refused() -> None:
    refusal = judged(AGENT.open(CHALLENGE, blockhash=Hash(bytes(key("other")))))
    assert refusal is not None
    assert refusal.problem is UNVERIFIED


def test_a_transaction_with_another_token_program_is_refused() -> None:
    refusal = judged(spoiled(token_program=TOKEN_2022_PROGRAM_ID))
    assert refusal is not None
    assert refusal.problem is FOREIGN


@pytest.mark.row("F04", attack="wrong program id with the same instruction layout", twin="our program id passes")
def test_the_same_instruction_of_another_program_is_foreign() -> None:
    """F04: wrong program id with the same instruction layout."""
    opening = AGENT.open(CHALLENGE, program_id=key("elsewhere"))
    assert opening.action.transaction is not None
    refusal = read_transaction(opening.action.transaction, DEMANDS)
    assert isinstance(refusal, Refusal)
    assert refusal.problem is FOREIGN


def test_a_transaction_that_does_something_else_besides_is_refused() -> None:
    other = create_ata_idempotent(funder=AGENT.key, owner=key("other"), mint=MINT, token_program=TOKEN_PROGRAM_ID)
    refusal = read_transaction(AGENT.sign([other], REQUEST.recent_blockhash), DEMANDS)
    assert isinstance(refusal, Refusal)


@given(st.binary(max_size=1300))
def test_no_bytes_are_taken_for_an_opening(raw: bytes) -> None:
    """F17."""
    assert isinstance(read_transaction(raw, DEMANDS), Refusal)


@given(st.data())
@pytest.mark.row("F17", attack="every byte of an opening flipped", twin="the opening itself passes")
def test_no_flipped_byte_of_an_opening_passes(data: st.DataObject) -> None:
    """F17: every byte is covered, by a signature or by a comparison."""
    assert HONEST.action.transaction is not None
    raw = bytearray(HONEST.action.transaction)
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= data.draw(st.integers(1, 255))
    read = read_transaction(bytes(raw), DEMANDS)
    assert isinstance(read, Refusal) or check_transaction(read, HONEST.action, DEMANDS) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"price": BaseUnits(PRICE + 1)},
        {"sla": None},
        {"grace_period": GRACE + 1},
        {"minimum_deposit": BaseUnits(MINIMUM + 1)},
        {"mint": key("other")},
        {"decimals": 9},
    ],
)
def test_a_challenge_is_void_once_the_offer_has_changed(changes: dict[str, object]) -> None:
    offer = replace(OFFER, **changes)  # type: ignore[arg-type]
    refusal = check_offer(replace(DEMANDS, offer=offer))
    assert refusal is not None
    assert refusal.problem is ProblemType.CHALLENGE_EXPIRED


@pytest.mark.row("C42", attack="a challenge from before the keys changed", twin="a fresh one opens")
def test_a_challenge_is_void_once_the_operator_or_payee_has_changed() -> None:
    for us in (identity(key("other")), identity(OPERATOR.pubkey(), key("other"))):
        refusal = check_offer(replace(DEMANDS, identity=us))
        assert refusal is not None
        assert refusal.problem is ProblemType.CHALLENGE_EXPIRED
