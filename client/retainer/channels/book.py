"""The client's own books of one session: pure, and the reason why a provider cannot bill what was not asked.

A request is *sent* under its Idempotency-Key, and then either refused without charge, or answered with a receipt, or
its outcome stays unknown. Receipts may overtake each other, so sequence and spent are held against sets, not order:

    charged <= spent <= charged + outstanding * price        and        sequence <= answered + outstanding
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from retainer.protocol.amounts import BaseUnits

Span: TypeAlias = tuple[int, int]
"""Sequence numbers from the first to the second, both included."""


_NOTHING: Final = BaseUnits(0)


class BookError(Exception):
    """A receipt that the books contradict; the message says how."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a receipt says about one request; amounts in base units, ``spent`` cumulative."""

    sequence: int
    amount: BaseUnits
    spent: BaseUnits


@dataclass(frozen=True, slots=True)
class Book:
    """Sums over the receipts seen, and the requests whose outcome is not known.

    ``outstanding`` holds their keys, each with the hex digest of its request, or "" where it must not be asked again.
    """

    charged: BaseUnits = _NOTHING
    spent: BaseUnits = _NOTHING
    answered: tuple[Span, ...] = ()
    outstanding: Mapping[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many requests were answered with a receipt."""
        return sum(last - first + 1 for first, last in self.answered)

    def sent(self, key: str, digest: str = "") -> "Book":
        """Note a request before it leaves. A retry under its old key adds nothing."""
        return replace(self, outstanding={**self.outstanding, key: digest})

    def lost(self, digest: str, in_hand: Container[str]) -> str | None:
        """The key of the same request from before, whose answer nobody waits for any more."""
        same = (key for key, sent in self.outstanding.items() if sent == digest and key not in in_hand)
        return next(same, None) if digest else None

    def refused(self, key: str) -> "Book":
        """The service said that this request was not served, so it cannot be billed later."""
        return replace(self, outstanding=_without(self.outstanding, key))

    def receipted(self, key: str, entry: Entry, price: int) -> "Book":
        """Enter a receipt; BookError when requests made under ``price`` base units each cannot explain it."""
        if entry.amount > price:
            raise BookError(f"it bills {entry.amount} base units for a request that costs at most {price}")
        outstanding = _without(self.outstanding, key)
        if _contains(self.answered, entry.sequence):
            # A replayed answer carries the receipt of the first time, and nothing of it is new.
            return replace(self, outstanding=outstanding)
        book = Book(
            charged=BaseUnits(self.charged + entry.amount),
            spent=BaseUnits(max(self.spent, entry.spent)),
            answered=_with(self.answered, entry.sequence),
            outstanding=outstanding,
        )
        if book.answered[-1][1] > book.requests + len(outstanding):
            raise BookError(f"it is number {entry.sequence}, and fewer requests were made")
        if book.spent < book.charged:
            raise BookError(f"it puts the total at {book.spent} base units, below the {book.charged} already receipted")
        book.require_explained(book.spent, price)
        return book

    def totalled(self, key: str, spent: BaseUnits, price: int) -> "Book":
        """Enter a stock receipt, which says the total and nothing about the request; BookError when it is too high."""
        most = (self.requests + len({*self.outstanding, key})) * price
        if spent > most:
            raise BookError(f"it puts the total at {spent} base units, and the requests made cost at most {most}")
        total = BaseUnits(max(self.spent, spent))
        answered = _with(self.answered, self.requests + 1)
        return Book(total, total, answered, _without(self.outstanding, key))

    def require_explained(self, spent: int, price: int) -> None:
        """BookError when a total of ``spent`` base units exceeds the receipts and the requests without an answer."""
        most = self.charged + len(self.outstanding) * price
        if spent > most:
            raise BookError(f"it puts the total at {spent} base units, and the requests made explain {most}")


def _without(outstanding: Mapping[str, str], key: str) -> dict[str, str]:
    return {other: digest for other, digest in outstanding.items() if other != key}


def _contains(spans: Iterable[Span], number: int) -> bool:
    return any(first <= number <= last for first, last in spans)


def _with(spans: Iterable[Span], number: int) -> tuple[Span, ...]:
    first = last = number
    apart = []
    for span in spans:
        if span[1] + 1 < number or span[0] - 1 > number:
            apart.append(span)
        else:
            first, last = min(first, span[0]), max(last, span[1])
    return tuple(sorted([*apart, (first, last)]))
