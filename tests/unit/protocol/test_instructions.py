from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from retainer.protocol.constants import ATA_PROGRAM_ID, PROGRAM_ID, TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.errors import LayoutError
from retainer.protocol.instruction_data import (
    CloseData,
    DecodedInstruction,
    OpenData,
    OpenWithTermsData,
    RequestCloseData,
    SettleData,
    TopUpData,
    WithdrawData,
    decode_instruction,
    encode_instruction,
)
from retainer.protocol.instructions import (
    ACCOUNT_NAMES,
    OpenParams,
    OpenWithTermsParams,
    account_metas,
    close,
    create_ata_idempotent,
    open_session,
    open_with_terms,
    request_close,
    settle,
    top_up,
    withdraw,
)
from retainer.protocol.pda import derive_ata
from retainer.protocol.session import SessionAccount
from retainer.protocol.sla import SlaTerms
from tests.golden import golden
from tests.unit.protocol.examples import ACCOUNT, MINT, OPEN, OPERATOR, PAYEE, PAYER, PAYER_TOKEN, SESSION

PAYEE_TOKEN = derive_ata(PAYEE.pubkey(), MINT)
ROOT = bytes(range(32))
TERMS = OpenWithTermsParams(
    **{name: getattr(OPEN, name) for name in OpenParams.__dataclass_fields__},
    operator=OPERATOR.pubkey(),
    price_per_unit=8000,
    expires_at=1_900_000_000,
    sla_hash=SlaTerms().hash(),
    batch=True,
)
METERED = replace(ACCOUNT, authorized_signer=ACCOUNT.operator)


def closing(account: SessionAccount, token_program: Pubkey = TOKEN_PROGRAM_ID) -> Instruction:
    return close(
        submitter=OPERATOR.pubkey(),
        session=SESSION,
        account=account,
        payee_token=PAYEE_TOKEN,
        payer_token=PAYER_TOKEN,
        amount=240_000,
        charged_units=30,
        usage_root=ROOT,
        batch=True,
        token_program=token_program,
    )


BUILDERS: dict[str, Callable[[], Instruction]] = {
    "open": lambda: open_session(OPEN),
    "open_with_terms": lambda: open_with_terms(TERMS),
    "top_up": lambda: top_up(
        payer=PAYER.pubkey(),
        session=SESSION,
        payer_token=PAYER_TOKEN,
        escrow=derive_ata(SESSION, MINT),
        mint=MINT,
        amount=5,
    ),
    "request_close": lambda: request_close(payer=PAYER.pubkey(), session=SESSION),
    "settle": lambda: settle(
        submitter=OPERATOR.pubkey(),
        session=SESSION,
        account=ACCOUNT,
        payee_token=PAYEE_TOKEN,
        amount=160_000,
        charged_units=20,
    ),
    "close": lambda: closing(ACCOUNT),
    "close_metered": lambda: closing(METERED),
    "close_token_2022": lambda: closing(ACCOUNT, TOKEN_2022_PROGRAM_ID),
    "withdraw": lambda: withdraw(session=SESSION, account=ACCOUNT, payer_token=PAYER_TOKEN),
}
DATA: dict[str, DecodedInstruction] = {
    "open": OpenData(42, 1_000_000, 900, 352_114_093),
    "open_with_terms": OpenWithTermsData(
        42, 1_000_000, 900, 352_114_093, 8000, 1_900_000_000, SlaTerms().hash(), batch=True
    ),
    "top_up": TopUpData(5),
    "request_close": RequestCloseData(),
    "settle": SettleData(160_000, 20, 1_800_000_000),
    "close": CloseData(240_000, 30, 1_800_000_000, ROOT, batch=True),
    "withdraw": WithdrawData(),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_instructions_are_built_as_in_the_vectors(name: str) -> None:
    built, vector = BUILDERS[name](), golden("instructions")[name]
    assert str(built.program_id) == vector["program"]
    assert bytes(built.data).hex() == vector["data"]
    assert [
        {"key": str(meta.pubkey), "signer": meta.is_signer, "writable": meta.is_writable} for meta in built.accounts
    ] == vector["accounts"]
    assert len(built.accounts) == len(ACCOUNT_NAMES[name.removesuffix("_metered").removesuffix("_token_2022")])


@pytest.mark.parametrize(
    ("name", "left_out"),
    [("close", {"mint"}), ("close_metered", {"mint", "instructions"}), ("close_token_2022", set())],
)
def test_an_account_that_is_not_needed_is_left_out_by_naming_the_program(name: str, left_out: set[str]) -> None:
    slots = dict(zip(ACCOUNT_NAMES["close"], BUILDERS[name]().accounts, strict=True))
    assert {slot for slot, meta in slots.items() if meta.pubkey == PROGRAM_ID} == left_out


@pytest.mark.parametrize("name", DATA)
def test_instruction_data_is_read_back(name: str) -> None:
    data = bytes.fromhex(golden("instructions")[name]["data"])
    assert decode_instruction(data) == DATA[name]


@pytest.mark.parametrize("name", DATA)
def test_short_long_and_unknown_data_is_refused(name: str) -> None:
    """C44."""
    data = encode_instruction(DATA[name])
    for broken in (data[:-1], data + b"\0", b"", b"\x02" + data[1:], b"\xff" + data[1:]):
        with pytest.raises(LayoutError):
            decode_instruction(broken)


def test_distribution_splits_are_refused() -> None:
    data = encode_instruction(DATA["open"])
    with pytest.raises(LayoutError):
        decode_instruction(data[:-4] + b"\1\0\0\0")
    with pytest.raises(LayoutError):
        decode_instruction(data[:-4] + b"\1\0\0\0" + bytes(34))


@pytest.mark.parametrize("name", ["open_with_terms", "close"])
@pytest.mark.parametrize("flags", [2, 3, 0x80])
def test_unknown_flags_are_refused(name: str, flags: int) -> None:
    with pytest.raises(LayoutError):
        decode_instruction(encode_instruction(DATA[name])[:-1] + bytes([flags]))


@pytest.mark.parametrize(
    "data", [TopUpData(-1), TopUpData(2**64), SettleData(0, 0, 2**63), CloseData(0, 0, 0, b"short", batch=False)]
)
def test_numbers_that_do_not_fit_are_not_encoded(data: Any) -> None:  # noqa: ANN401 - several kinds
    with pytest.raises(LayoutError):
        encode_instruction(data)


def test_the_number_of_accounts_is_fixed() -> None:
    with pytest.raises(LayoutError):
        account_metas("request_close", (SESSION,))


def test_creating_a_token_account_names_the_account_and_its_owner() -> None:
    instruction = create_ata_idempotent(
        funder=PAYER.pubkey(), owner=PAYEE.pubkey(), mint=MINT, token_program=TOKEN_2022_PROGRAM_ID
    )
    assert instruction.program_id == ATA_PROGRAM_ID
    assert bytes(instruction.data) == b"\x01"
    assert [(meta.pubkey, meta.is_signer, meta.is_writable) for meta in instruction.accounts[:3]] == [
        (PAYER.pubkey(), True, True),
        (derive_ata(PAYEE.pubkey(), MINT, TOKEN_2022_PROGRAM_ID), False, True),
        (PAYEE.pubkey(), False, False),
    ]
