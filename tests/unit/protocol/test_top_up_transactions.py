import pytest
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.errors import TransactionError
from retainer.protocol.instructions import open_session, top_up
from retainer.protocol.pda import derive_ata, derive_vault
from retainer.protocol.transactions import inspect_top_up
from tests.unit.protocol.examples import (
    MINT,
    OPEN,
    PAYER,
    PAYER_TOKEN,
    SESSION,
    SPONSOR,
    STRANGER,
    signed,
    with_account,
)

VAULT = derive_vault(SESSION)[0]
TOP_UP = top_up(payer=PAYER.pubkey(), session=SESSION, payer_token=PAYER_TOKEN, escrow=VAULT, mint=MINT, amount=5)
PAYOUT = transfer(TransferParams(from_pubkey=SPONSOR.pubkey(), to_pubkey=STRANGER.pubkey(), lamports=1))


@pytest.mark.parametrize("escrow", [VAULT, derive_ata(SESSION, MINT)])
def test_a_top_up_is_read_from_its_bytes(escrow: Pubkey) -> None:
    instruction = top_up(
        payer=PAYER.pubkey(), session=SESSION, payer_token=PAYER_TOKEN, escrow=escrow, mint=MINT, amount=5
    )
    found = inspect_top_up(signed([instruction], [PAYER]), session=SESSION)
    assert (found.session, found.payer, found.amount) == (SESSION, PAYER.pubkey(), BaseUnits(5))
    assert (found.payer_token, found.escrow, found.mint) == (PAYER_TOKEN, escrow, MINT)
    assert found.missing == ()
    sponsored = inspect_top_up(signed([instruction], [PAYER], fee_payer=SPONSOR), session=SESSION)
    assert sponsored.missing == (SPONSOR.pubkey(),)


@pytest.mark.parametrize(
    ("instructions", "why"),
    [
        ([open_session(OPEN)], "tops up no session"),
        ([TOP_UP, TOP_UP], "2 instructions"),
        ([TOP_UP, PAYOUT], "another instruction"),
        ([with_account(TOP_UP, 3, AccountMeta(STRANGER.pubkey(), is_signer=False, is_writable=True))], "escrow"),
        (
            [
                top_up(
                    payer=PAYER.pubkey(),
                    session=STRANGER.pubkey(),
                    payer_token=PAYER_TOKEN,
                    escrow=VAULT,
                    mint=MINT,
                    amount=5,
                )
            ],
            "tops up",
        ),
        (
            [with_account(TOP_UP, 5, AccountMeta(STRANGER.pubkey(), is_signer=False, is_writable=False))],
            "neither the SPL",
        ),
        ([with_account(TOP_UP, 2, AccountMeta(SPONSOR.pubkey(), is_signer=False, is_writable=True))], "more than"),
        ([Instruction(PROGRAM_ID, TOP_UP.data, TOP_UP.accounts[:-1])], "6 accounts"),
    ],
)
def test_a_top_up_does_nothing_else(instructions: list[Instruction], why: str) -> None:
    with pytest.raises(TransactionError, match=why):
        inspect_top_up(signed(instructions, [PAYER, STRANGER], fee_payer=SPONSOR), session=SESSION)


def test_a_top_up_must_be_signed_by_its_payer() -> None:
    with pytest.raises(TransactionError, match="payer has not signed"):
        inspect_top_up(signed([TOP_UP], [SPONSOR], fee_payer=SPONSOR), session=SESSION)
