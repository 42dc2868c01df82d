"""What may be taken for a session whose books are lost: only what its operator signed, and its agent allows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.errors import MessageError
from retainer.protocol.receipts import MeteredDetails, Receipt, ReceiptExtension, receipt_header, sign_receipt
from retainer.protocol.session import ChainStatus, SessionAccount, SessionState
from retainer.protocol.vouchers import SignedVoucher, Voucher, sign_voucher, voucher_to_json
from retainer.stores.receipts import KeptReceipt
from retainer_provider.settling.proofs import read_proofs
from retainer_provider.settling.recovery import Finding, Proofs, best_proofs, recover
from tests.books import DEPOSIT, NOW, PRICE, account_of, new_session

OPERATOR, AGENT, STRANGER = (Keypair.from_seed(name * 32) for name in (b"o", b"a", b"s"))
SESSION = Pubkey.from_string(new_session().session_id)


def account(**changes: object) -> SessionAccount:
    signer = {"operator": OPERATOR.pubkey(), "authorized_signer": OPERATOR.pubkey()}
    return account_of(new_session(), **(signer | changes))


def by_vouchers(**changes: object) -> SessionAccount:
    return account(authorized_signer=AGENT.pubkey(), **changes)


def receipt(requests: int, *, key: Keypair = OPERATOR, spent: int | None = None) -> Receipt:
    paid = BaseUnits(requests * PRICE if spent is None else spent)
    metered = MeteredDetails(
        sequence=requests,
        amount=BaseUnits(PRICE),
        units=1,
        charged=True,
        status=200,
        latency_ms=1,
        request_digest="00" * 32,
        response_digest="00" * 32,
        usage_hash=f"{requests:02x}" * 32,
    )
    return sign_receipt(
        Receipt(
            reference=SESSION,
            timestamp="2027-01-15T08:00:00Z",
            accepted_cumulative=paid,
            spent=paid,
            idle_timeout_seconds=60,
            retainer=ReceiptExtension(
                state=SessionState.ACTIVE, remaining=BaseUnits(0), operator=key.pubkey(), metered=metered
            ),
        ),
        key,
    )


def voucher(requests: int, key: Keypair = AGENT) -> SignedVoucher:
    return sign_voucher(Voucher(SESSION, BaseUnits(requests * PRICE)), key)


def test_the_highest_receipt_of_the_operators_own_is_taken_whatever_the_order() -> None:
    accounts = {SESSION: account()}
    forged = receipt(9, key=STRANGER)
    best, worthless = best_proofs([receipt(1), receipt(3), forged, receipt(2)], [], accounts)
    assert (best, worthless) == ({SESSION: Proofs(receipt(3))}, 1)
    found = recover(SESSION, accounts[SESSION], best[SESSION], NOW)
    assert (found.finding, found.spent, found.units, found.sequence) == (Finding.RECOVERED, 3 * PRICE, 3, 3)
    assert found.usage_root == b"\x03" * 32


def test_proofs_of_sessions_that_are_not_on_chain_are_worth_nothing() -> None:
    assert best_proofs([receipt(1)], [voucher(1)], {}) == ({}, 2)
    assert best_proofs([], [voucher(1, key=STRANGER)], {SESSION: by_vouchers()}) == ({}, 1)


@pytest.mark.parametrize(
    ("vouchers", "finding", "spent"),
    [
        ([], Finding.UNPROVEN, 0),
        ([voucher(2)], Finding.RECOVERED, 2 * PRICE),
        ([voucher(4), voucher(3)], Finding.RECOVERED, 3 * PRICE),
    ],
    ids=["without a voucher the program pays nothing", "never above the voucher", "never above the receipt"],
)
def test_where_the_agent_signs_a_receipt_needs_its_voucher(
    vouchers: list[SignedVoucher], finding: Finding, spent: int
) -> None:
    accounts = {SESSION: by_vouchers()}
    best, _ = best_proofs([receipt(3)], vouchers, accounts)
    found = recover(SESSION, accounts[SESSION], best[SESSION], NOW)
    assert (found.finding, found.spent) == (finding, spent)


def test_a_voucher_alone_proves_no_charge() -> None:
    found = recover(SESSION, by_vouchers(), Proofs(None, voucher(3)), NOW)
    assert (found.finding, found.spent, found.refundable) == (Finding.UNPROVEN, 0, True)


def test_a_free_session_of_vouchers_needs_none() -> None:
    found = recover(SESSION, by_vouchers(), Proofs(receipt(1, spent=0)), NOW)
    assert (found.finding, found.spent) == (Finding.RECOVERED, 0)


@pytest.mark.parametrize(
    ("found", "proof"),
    [
        (account(), receipt(1, spent=DEPOSIT + PRICE)),
        (account(settled=BaseUnits(2 * PRICE)), receipt(1)),
        (account(), receipt(1, spent=PRICE + 1)),
    ],
    ids=["more than was deposited", "less than is settled", "no whole number of requests"],
)
def test_what_cannot_be_is_for_a_person_to_look_at(found: SessionAccount, proof: Receipt) -> None:
    assert recover(SESSION, found, Proofs(proof), NOW).finding is Finding.CONTRADICTED


def test_without_a_committed_price_units_stay_as_they_are_on_chain() -> None:
    stock = account(price_per_unit=BaseUnits(0), charged_units=7)
    found = recover(SESSION, stock, Proofs(receipt(3)), NOW)
    assert (found.finding, found.spent, found.units) == (Finding.RECOVERED, 3 * PRICE, 7)


def test_what_is_over_is_not_settled_again() -> None:
    asked = account(status=ChainStatus.CLOSING, closure_started_at=NOW)
    deadline = asked.deadline()
    assert deadline is not None
    assert recover(SESSION, asked, Proofs(receipt(3)), deadline).finding is Finding.TOO_LATE
    assert recover(SESSION, asked, Proofs(receipt(3)), deadline - 1).finding is Finding.RECOVERED
    closed = account(status=ChainStatus.CLOSED)
    assert recover(SESSION, closed, Proofs(receipt(3)), NOW).finding is Finding.CLOSED


def test_a_part_paid_session_of_vouchers_is_not_closed_without_one() -> None:
    part_paid = by_vouchers(settled=BaseUnits(PRICE))
    assert not recover(SESSION, part_paid, Proofs(), NOW).refundable
    assert recover(SESSION, replace(part_paid, settled=BaseUnits(0)), Proofs(), NOW).refundable


def test_proofs_are_read_from_any_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(f"{receipt_header(receipt(1))}\n\n{json.dumps(voucher_to_json(voucher(2)))}\n")
    (tmp_path / "two").write_text(receipt_header(receipt(3)))
    (tmp_path / "zoo.jsonl").write_text(KeptReceipt(receipt(2)).to_line() + "\n")
    (tmp_path / "folder").mkdir()
    assert read_proofs(tmp_path) == ([receipt(1), receipt(3), receipt(2)], [voucher(2)])


@pytest.mark.parametrize("line", ["not base64!", "{", "{}", '{"voucher": 1}', "AAAA"])
def test_what_is_no_proof_is_named_by_file_and_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.txt").write_text(f"{receipt_header(receipt(1))}\n{line}\n")
    with pytest.raises(MessageError, match=r"bad\.txt, line 2, is neither receipt nor voucher"):
        read_proofs(tmp_path)
