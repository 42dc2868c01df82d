"""What every ledger must do with vouchers: kept whole before anything is served, and never outspent."""

import asyncio

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.session import VoucherSigner
from retainer.protocol.vouchers import SignedVoucher, Voucher, sign_voucher
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.outcomes import CloseBegin, RecordOutcome, ReserveOutcome, ReserveResult
from retainer_provider.books.records import ReserveRequest, SessionRecord
from tests.books import DEPOSIT, NOW, PRICE, SIGNATURE, commit_of, fingerprint, held, open_session
from tests.contract.conftest import OpenLedger

SIGNER = Keypair.from_seed(b"v" * 32)


def voucher(session_id: str, cumulative: int) -> SignedVoucher:
    return sign_voucher(Voucher(Pubkey.from_string(session_id), BaseUnits(cumulative)), SIGNER)


async def of_vouchers(ledger: Ledger) -> str:
    return await open_session(ledger, voucher_signer=VoucherSigner.CLIENT, authorized_signer=SIGNER.pubkey())


async def pay(ledger: Ledger, session_id: str, cumulative: int, name: str) -> ReserveResult:
    signed = voucher(session_id, cumulative)
    return await ledger.reserve(
        ReserveRequest(session_id, name, fingerprint(name), PRICE, units=1, now=NOW, voucher=signed)
    )


async def known(ledger: Ledger, session_id: str) -> SessionRecord:
    record = await ledger.session(session_id)
    assert record is not None
    return record


async def test_an_accepted_voucher_survives_a_restart_whole(open_ledger: OpenLedger) -> None:
    ledger = await open_ledger()
    session_id = await of_vouchers(ledger)
    assert (await pay(ledger, session_id, 3 * PRICE, "a")).outcome is ReserveOutcome.RESERVED
    ledger = await open_ledger()
    record = await known(ledger, session_id)
    assert (record.accepted, record.voucher, record.spent) == (3 * PRICE, voucher(session_id, 3 * PRICE), 0)
    again = held(await pay(ledger, session_id, 3 * PRICE, "a"))
    await ledger.commit(commit_of(again))
    assert (await known(ledger, session_id)).spent == PRICE


@pytest.mark.parametrize(
    ("cumulative", "outcome"),
    [
        (0, ReserveOutcome.VOUCHER_LOW),
        (PRICE - 1, ReserveOutcome.VOUCHER_LOW),
        (DEPOSIT + 1, ReserveOutcome.VOUCHER_HIGH),
        (2**64 - 1, ReserveOutcome.VOUCHER_HIGH),
        (PRICE, ReserveOutcome.RESERVED),
        (DEPOSIT, ReserveOutcome.RESERVED),
    ],
)
async def test_only_a_voucher_that_pays_is_kept(ledger: Ledger, cumulative: int, outcome: ReserveOutcome) -> None:
    session_id = await of_vouchers(ledger)
    assert (await pay(ledger, session_id, cumulative, "a")).outcome is outcome
    kept = cumulative if outcome is ReserveOutcome.RESERVED else 0
    assert (await known(ledger, session_id)).accepted == kept


async def test_the_accepted_amount_never_goes_down(ledger: Ledger) -> None:
    session_id = await of_vouchers(ledger)
    held(await pay(ledger, session_id, 5 * PRICE, "a"))
    assert (await pay(ledger, session_id, 4 * PRICE, "b")).outcome is ReserveOutcome.VOUCHER_LOW
    assert (await known(ledger, session_id)).voucher == voucher(session_id, 5 * PRICE)


async def test_racing_requests_share_what_a_voucher_authorizes(ledger: Ledger) -> None:
    """F09: the guard is in the write."""
    session_id = await of_vouchers(ledger)
    racers = await asyncio.gather(*(pay(ledger, session_id, 3 * PRICE, f"{number}") for number in range(20)))
    assert sum(result.outcome is ReserveOutcome.RESERVED for result in racers) == 3
    for result in racers:
        if result.reservation is not None:
            await ledger.commit(commit_of(result.reservation))
    assert (await known(ledger, session_id)).spent == 3 * PRICE


async def test_a_request_without_a_voucher_has_nothing_to_spend(ledger: Ledger) -> None:
    session_id = await of_vouchers(ledger)
    request = ReserveRequest(session_id, None, fingerprint("a"), PRICE, units=1, now=NOW)
    assert (await ledger.reserve(request)).outcome is ReserveOutcome.DEPLETED


async def test_a_voucher_is_nothing_to_a_metered_session(ledger: Ledger) -> None:
    session_id = await open_session(ledger)
    assert (await pay(ledger, session_id, PRICE, "a")).outcome is ReserveOutcome.VOUCHER_LOW
    assert (await known(ledger, session_id)).accepted == 0


async def test_a_settled_session_of_vouchers_leaves_an_account_behind(ledger: Ledger) -> None:
    session_id, metered = await of_vouchers(ledger), await open_session(ledger, 1)
    for ended in (session_id, metered):
        assert await ledger.begin_close(ended, "asked", NOW) is CloseBegin.STARTED
        assert await ledger.record_settled(ended, SIGNATURE, 0, DEPOSIT, NOW) is RecordOutcome.RECORDED
    assert [record.session_id for record in await ledger.left_behind()] == [session_id]
    await ledger.account_gone(session_id)
    assert await ledger.left_behind() == []
