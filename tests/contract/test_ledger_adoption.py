"""A session that the books had lost comes back to be settled: never over what they know, and never to be sold from."""

from dataclasses import replace

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import SessionState, VoucherSigner
from retainer.protocol.vouchers import SignedVoucher, Voucher, sign_voucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import AdoptOutcome, ExpectOutcome, PlanOutcome, ReserveOutcome
from retainer_provider.books.records import Adoption, Custody, ExpectedTransfer, NewSession, SettlementPlan
from tests.books import DEPOSIT, NOW, PRICE, account_of, new_session, open_session, reserve

ROOT = b"\x07" * 32


def adoption(new: NewSession, *, voucher: SignedVoucher | None = None) -> Adoption:
    return Adoption(
        new=new,
        account=account_of(new, deposit=BaseUnits(2 * DEPOSIT)),
        spent=BaseUnits(3 * PRICE),
        units_charged=3,
        sequence=4,
        usage_root=ROOT,
        voucher=voucher,
        reason="the books were lost",
        now=NOW,
    )


async def test_a_lost_session_comes_back_closing_with_what_is_proven(ledger: Ledger) -> None:
    new = new_session()
    assert await ledger.adopt(adoption(new)) is AdoptOutcome.ADOPTED
    record = await ledger.session(new.session_id)
    assert record is not None
    assert (record.state, record.deposit, record.spent) == (SessionState.CLOSING, 2 * DEPOSIT, 3 * PRICE)
    assert (record.units_charged, record.sequence, record.usage_root) == (3, 4, ROOT)
    assert list(await ledger.closing()) == [new.session_id]
    assert (await reserve(ledger, new.session_id, "a")).outcome is ReserveOutcome.CLOSING
    plan = SettlementPlan(record.spent, 3, record.remaining, ROOT, record.opened_at)
    assert await ledger.plan_settlement(new.session_id, plan, NOW) is PlanOutcome.PLANNED


async def test_what_the_books_know_stands(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    before = await ledger.session(session_id)
    assert await ledger.adopt(adoption(new_session())) is AdoptOutcome.KNOWN
    assert await ledger.session(session_id) == before
    assert await ledger.adopt(adoption(new_session(1))) is AdoptOutcome.ADOPTED
    assert await ledger.adopt(adoption(new_session(1))) is AdoptOutcome.KNOWN


async def test_a_session_of_vouchers_comes_back_with_its_voucher(ledger: Ledger) -> None:
    signer = Keypair()
    new = replace(new_session(), voucher_signer=VoucherSigner.CLIENT, authorized_signer=signer.pubkey())
    signed = sign_voucher(Voucher(Pubkey.from_string(new.session_id), BaseUnits(5 * PRICE)), signer)
    assert await ledger.adopt(adoption(new, voucher=signed)) is AdoptOutcome.ADOPTED
    record = await ledger.session(new.session_id)
    assert record is not None
    assert (record.accepted, record.voucher, record.spent) == (5 * PRICE, signed, 3 * PRICE)


async def test_a_custodial_session_comes_back_with_its_transfers(ledger: Ledger) -> None:
    """They serve no other session from there on (F01)."""
    new = replace(new_session(), custody=Custody.PROVIDER)
    first, second = ExpectedTransfer("1" * 88, DEPOSIT, 0), ExpectedTransfer("2" * 88, PRICE, 0)
    lost = replace(adoption(new), account=None, transfers=(first, second))
    assert await ledger.adopt(lost) is AdoptOutcome.ADOPTED
    record = await ledger.session(new.session_id)
    assert record is not None
    assert (record.state, record.deposit, record.spent) == (SessionState.CLOSING, DEPOSIT + PRICE, 3 * PRICE)
    assert (record.creation_signature, record.custody) == (first.signature, Custody.PROVIDER)
    other = new_session(1, custody=Custody.PROVIDER)
    await ledger.admit(other)
    for transfer in (first, second):
        assert await ledger.expect_transfer(other.session_id, transfer) is ExpectOutcome.REPLAYED
    plan = SettlementPlan(record.spent, 3, record.remaining, ROOT, record.opened_at)
    assert await ledger.plan_settlement(new.session_id, plan, NOW) is PlanOutcome.PLANNED
