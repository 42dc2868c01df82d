"""The client's books: F29, receipts for requests that were not made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.channels.book import Book, BookError, Entry
from retainer.protocol.amounts import BaseUnits

PRICE = 8


def entry(sequence: int, spent: int, amount: int = PRICE) -> Entry:
    return Entry(sequence, BaseUnits(amount), BaseUnits(spent))


def after(count: int) -> Book:
    """Books after ``count`` honest, charged requests."""
    book = Book()
    for number in range(1, count + 1):
        book = book.sent(f"key-{number}").receipted(f"key-{number}", entry(number, number * PRICE), PRICE)
    return book


def test_honest_receipts_add_up() -> None:
    book = after(30)
    assert (book.requests, book.charged, book.spent, book.outstanding) == (30, 240, 240, {})


def test_an_uncharged_answer_counts_as_a_request_and_costs_nothing() -> None:
    book = after(1).sent("late").receipted("late", entry(2, PRICE, amount=0), PRICE)
    assert (book.requests, book.spent) == (2, PRICE)


def test_a_receipt_above_the_agreed_price_is_refused() -> None:
    with pytest.raises(BookError, match="costs at most 8"):
        Book().sent("a").receipted("a", entry(1, 9, amount=9), PRICE)


@pytest.mark.row("F29", attack="receipts for requests never made", twin="honest receipts add up")
def test_a_receipt_that_counts_a_request_never_made_is_refused() -> None:
    with pytest.raises(BookError, match="fewer requests were made"):
        after(1).sent("b").receipted("b", entry(3, 2 * PRICE), PRICE)


def test_a_total_that_the_requests_do_not_explain_is_refused() -> None:
    with pytest.raises(BookError, match="puts the total at 24"):
        after(1).sent("b").receipted("b", entry(2, 3 * PRICE), PRICE)


def test_a_total_below_the_receipts_is_refused() -> None:
    with pytest.raises(BookError, match="at 8 base units, below the 16 already receipted"):
        after(1).sent("b").receipted("b", entry(2, PRICE), PRICE)


def test_a_request_whose_answer_was_lost_explains_one_price_more() -> None:
    book = after(1).sent("lost").sent("b").receipted("b", entry(3, 3 * PRICE), PRICE)
    assert set(book.outstanding) == {"lost"}
    with pytest.raises(BookError, match="explain 24"):
        book.require_explained(4 * PRICE, PRICE)


def test_a_refused_request_explains_nothing() -> None:
    book = after(1).sent("refused").refused("refused")
    with pytest.raises(BookError, match="puts the total at 16"):
        book.require_explained(2 * PRICE, PRICE)


def test_a_replayed_answer_is_counted_once() -> None:
    book = after(2).sent("key-1").receipted("key-1", entry(1, PRICE), PRICE)
    assert book == after(2)


def test_a_stock_total_is_held_against_the_number_of_requests() -> None:
    book = Book().sent("a").sent("b").totalled("b", BaseUnits(2 * PRICE), PRICE).totalled("a", BaseUnits(PRICE), PRICE)
    assert (book.requests, book.spent, book.outstanding) == (2, 2 * PRICE, {})
    with pytest.raises(BookError, match="cost at most 24"):
        book.sent("c").totalled("c", BaseUnits(3 * PRICE + 1), PRICE)


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8)))
def test_receipts_of_concurrent_requests_may_arrive_in_any_order(order: list[int], free: set[int]) -> None:
    """Whatever the order, every prefix of the receipts is accepted and the sums come out the same."""
    book = Book()
    for number in order:
        book = book.sent(str(number))
    amounts = {number: 0 if number in free else PRICE for number in range(1, 9)}
    for number in order:
        total = sum(amounts[earlier] for earlier in range(1, number + 1))
        book = book.receipted(str(number), entry(number, total, amounts[number]), PRICE)
    assert (book.requests, book.spent, book.charged) == (8, sum(amounts.values()), sum(amounts.values()))
    assert book.answered == ((1, 8),)


@given(st.integers(0, 20), st.integers(0, 5), st.integers(0, 400))
def test_no_total_beyond_what_was_asked_for_is_ever_accepted(answered: int, lost: int, total: int) -> None:
    book = after(answered)
    for number in range(lost):
        book = book.sent(f"lost-{number}")
    if total <= (answered + lost) * PRICE:
        book.require_explained(total, PRICE)
    else:
        with pytest.raises(BookError):
            book.require_explained(total, PRICE)


def test_a_dear_request_explains_its_maximum_and_is_charged_what_it_used() -> None:
    """F10: a route that costs by use."""
    book = after(1).sent("dear", units=40)
    assert book.exposed == 40
    book.require_explained(41 * PRICE, PRICE)
    with pytest.raises(BookError, match="costs at most 320"):
        book.receipted("dear", entry(2, 42 * PRICE, amount=41 * PRICE), PRICE)
    used = book.receipted("dear", entry(2, 8 * PRICE, amount=7 * PRICE), PRICE)
    assert (used.spent, used.exposed, used.units) == (8 * PRICE, 0, {})


def test_a_dear_request_that_is_refused_explains_nothing_any_more() -> None:
    book = Book().sent("dear", units=40).refused("dear")
    with pytest.raises(BookError, match="explain 0"):
        book.require_explained(PRICE, PRICE)


def test_a_retry_never_lowers_what_a_request_may_cost() -> None:
    """The first try may have been served for all of it."""
    assert Book().sent("dear", units=40).sent("dear").exposed == 40


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), max_size=30))
def test_charges_of_any_use_add_up_to_what_is_spent(requests: list[tuple[int, int]]) -> None:
    book, spent = Book(), 0
    for number, (most, used) in enumerate(requests, 1):
        amount = min(most, used) * PRICE
        spent += amount
        book = book.sent(str(number), units=most).receipted(str(number), entry(number, spent, amount=amount), PRICE)
    assert (book.spent, book.charged, book.exposed) == (spent, spent, 0)
