"""What monitoring is told of the books: counts and sums by offer and state."""

from dataclasses import asdict

from retainer.protocol.session import SessionState
from retainer_provider.books.ledger import Ledger
from retainer_provider.books.records import Custody
from tests.books import DEPOSIT, GRACE, NOW, PRICE, ask, key, new_session, open_session, reserve


async def test_empty_books_are_tallied_as_nothing(ledger: Ledger) -> None:
    assert list(await ledger.tally(NOW)) == []


async def test_every_session_is_counted_once_with_what_it_holds_and_spent(ledger: Ledger) -> None:
    first, second = await open_session(ledger, 1), await open_session(ledger, 2)
    await open_session(ledger, 3, offer_id="bulk")
    await ledger.admit(new_session(4))
    await ask(ledger, first, "a")
    await reserve(ledger, first, "b")
    await reserve(ledger, second, "c")
    rows = {(row.offer_id, row.state): asdict(row) for row in await ledger.tally(NOW)}
    offer = new_session(1).offer_id
    assert set(rows) == {(offer, SessionState.ACTIVE), (offer, SessionState.PENDING), ("bulk", SessionState.ACTIVE)}
    active = rows[offer, SessionState.ACTIVE]
    assert (active["sessions"], active["deposit"]) == (2, 2 * DEPOSIT)
    assert (active["reserved"], active["spent"], active["settled"], active["urgent"]) == (2 * PRICE, PRICE, 0, 0)
    assert rows["bulk", SessionState.ACTIVE]["spent"] == 0


async def test_a_closing_session_is_urgent_in_the_last_third_of_its_grace_period(ledger: Ledger) -> None:
    """F16."""
    session_id = await open_session(ledger)
    await ledger.mark_closing_on_chain(session_id, NOW, NOW)
    record = await ledger.session(session_id)
    assert record is not None
    last_third = NOW + GRACE - GRACE // 3
    for now, urgent in ((NOW, 0), (last_third, 0), (last_third + 1, 1), (NOW + 2 * GRACE, 1)):
        [row] = await ledger.tally(now)
        assert (row.state, row.urgent, record.urgent(now)) == (SessionState.CLOSING, urgent, bool(urgent)), now


async def test_parties_are_told_once_for_all_open_sessions(ledger: Ledger) -> None:
    """F26: whose sessions these are, however many there are; those at their end do not count."""
    assert list(await ledger.parties()) == []
    for salt in range(1, 4):
        await open_session(ledger, salt)
    await ledger.admit(new_session(4, custody=Custody.PROVIDER))
    other = await open_session(ledger, 5, operator=key("another operator"))
    gone = new_session(6, operator=key("a third operator"))
    await ledger.admit(gone)
    await ledger.abandon(gone.session_id, "it never came", NOW)
    await ledger.begin_close(other, "asked for", NOW)
    told = {(found.operator, found.payee, found.custody): found.session_id for found in await ledger.parties()}
    assert told == {
        (key("operator"), key("payee"), Custody.ESCROW): new_session(1).session_id,
        (key("operator"), key("payee"), Custody.PROVIDER): new_session(4).session_id,
        (key("another operator"), key("payee"), Custody.ESCROW): other,
    }
